import { type KeyboardEvent, useId, useRef } from "react";
import { Icon, type IconName } from "./icons";

export interface MenuItem {
  label: string;
  icon?: IconName;
  danger?: boolean;
  onSelect?: () => void;
  /** A file to fetch instead. */
  download?: string;
  href?: string;
}

interface Props {
  label: string;
  items: MenuItem[];
  icon?: IconName;
  className?: string;
  text?: string;
}

/** A button with a menu in the top layer: nothing that scrolls cuts it off. Arrows move, Escape closes. */
export function Menu({ label, items, icon = "more", className = "icon-button", text }: Props) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);

  const place = () => {
    const anchor = button.current?.getBoundingClientRect();
    const element = list.current;
    if (!anchor || !element) return;
    const { offsetWidth: width, offsetHeight: height } = element;
    const start = document.dir === "rtl" ? anchor.left : anchor.right - width;
    const below = anchor.bottom + 4 + height <= innerHeight;
    element.style.left = `${Math.max(8, Math.min(start, innerWidth - width - 8))}px`;
    element.style.top = `${Math.max(8, below ? anchor.bottom + 4 : anchor.top - height - 4)}px`;
  };
  const choices = () => [...(list.current?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
  const toggled = (open: boolean) => {
    button.current?.setAttribute("aria-expanded", String(open));
    if (!open) return;
    place();
    choices()[0]?.focus();
  };
  const key = (event: KeyboardEvent) => {
    const all = choices();
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (event.key === "Tab") list.current?.hidePopover();
    if (to === undefined) return;
    event.preventDefault();
    all[(to + all.length) % all.length]?.focus();
  };
  const select = (item: MenuItem) => {
    list.current?.hidePopover();
    button.current?.focus();
    item.onSelect?.();
  };

  return (
    <>
      <button
        ref={button}
        type="button"
        className={className}
        aria-label={text ? undefined : label}
        title={label}
        aria-haspopup="menu"
        aria-expanded="false"
        aria-controls={id}
        popoverTarget={id}
      >
        <Icon name={icon} />
        {text && <span>{text}</span>}
      </button>
      <div
        ref={list}
        id={id}
        popover="auto"
        role="menu"
        aria-label={label}
        className="menu"
        onKeyDown={key}
        onToggle={(event) => toggled((event.nativeEvent as ToggleEvent).newState === "open")}
      >
        {items.map((item) => {
          const inner = (
            <>
              {item.icon && <Icon name={item.icon} />}
              <span>{item.label}</span>
            </>
          );
          const shared = { role: "menuitem", tabIndex: -1, className: item.danger ? "danger" : undefined };
          return item.href ? (
            <a key={item.label} {...shared} href={item.href} download={item.download} onClick={() => select(item)}>
              {inner}
            </a>
          ) : (
            <button key={item.label} type="button" {...shared} onClick={() => select(item)}>
              {inner}
            </button>
          );
        })}
      </div>
    </>
  );
}

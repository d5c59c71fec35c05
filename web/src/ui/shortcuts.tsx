import { useTranslation } from "react-i18next";
import { Dialog } from "./dialog";

const APPLE = /Mac|iPhone|iPad/.test(navigator.platform);
const COMMAND = APPLE ? "⌘" : "Ctrl";

const SHORTCUTS: [string, string[]][] = [
  ["shortcuts.send", ["Enter"]],
  ["shortcuts.line", ["Shift", "Enter"]],
  ["shortcuts.stop", ["Esc"]],
  ["shortcuts.write", ["/"]],
  ["shortcuts.edit", ["↑"]],
  ["shortcuts.new", [COMMAND, "Shift", "O"]],
  ["shortcuts.search", [COMMAND, "K"]],
  ["shortcuts.copy", [COMMAND, "Shift", "Y"]],
  ["shortcuts.history", [COMMAND, "Shift", "S"]],
  ["shortcuts.help", ["?"]],
];

export function ShortcutSheet({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  return (
    <Dialog title={t("shortcuts.title")} onClose={onClose}>
      <dl className="shortcuts">
        {SHORTCUTS.map(([name, keys]) => (
          <div key={name}>
            <dt>{t(name)}</dt>
            <dd dir="ltr">
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}

/** Whether a key belongs to what is written in. */
export function inText(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest("input,textarea,select,[contenteditable]") !== null;
}

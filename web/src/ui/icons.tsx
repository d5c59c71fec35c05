/** Line drawings of 20 by 20. They take the colour of the text; what they mean is said by the button around them. */

const PATHS = {
  plus: "M10 4v12M4 10h12",
  send: "M10 16V4.5M5 9l5-5 5 5",
  copy: "M7 7h9v9H7zM4 13V4h9",
  edit: "M4 16l1-4 8-8 3 3-8 8zM11.5 5.5l3 3",
  again: "M15.5 8A6 6 0 1 0 16 11.5M16 4v4h-4",
  go: "M5 4.5l10 5.5-10 5.5z",
  more: "M4.3 9.7h.6v.6h-.6zM9.7 9.7h.6v.6h-.6zM15.1 9.7h.6v.6h-.6z",
  left: "M12 5l-5 5 5 5",
  right: "M8 5l5 5-5 5",
  down: "M5 8l5 5 5-5",
  search: "M9 4a5 5 0 1 0 0 10A5 5 0 0 0 9 4zM13 13l4 4",
  pin: "M7.5 3.5h5l-.6 5 2.6 2.5h-9L8.1 8.5zM10 11v6",
  archive: "M3.5 5h13v3h-13zM5 8v8h10V8M8.5 11h3",
  trash: "M4 6h12M8 6V4h4v2M6 6l.7 10h6.6L14 6",
  share: "M10 12V3.5M7 6l3-3 3 3M5 10v6h10v-6",
  download: "M10 3.5V12M7 9.5l3 3 3-3M5 14v2.5h10V14",
  menu: "M3.5 6h13M3.5 10h13M3.5 14h13",
  close: "M5 5l10 10M15 5L5 15",
  clip: "M14.5 9.5l-5 5a3 3 0 0 1-4.2-4.2l6-6a2 2 0 0 1 2.9 2.9l-5.8 5.8a1 1 0 0 1-1.4-1.4l5-5",
  up: "M7 16.5H4.5v-7H7zM7 9.5l3-6c1.2 0 1.9.9 1.7 2l-.5 3h4a1.3 1.3 0 0 1 1.3 1.6l-1.2 5a1.5 1.5 0 0 1-1.5 1.2H7",
  thumbDown: "M13 3.5h2.5v7H13zM13 10.5l-3 6c-1.2 0-1.9-.9-1.7-2l.5-3h-4a1.3 1.3 0 0 1-1.3-1.6l1.2-5a1.5 1.5 0 0 1 1.5-1.2H13",
  flag: "M5 17V3.5M5 4h9.5l-2 3.5 2 3.5H5",
  check: "M4.5 10.5l3.5 3.5 7.5-8",
  help: "M7.5 7.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7M10 14.5h.01",
  person: "M10 10a3.2 3.2 0 1 0 0-6.4A3.2 3.2 0 0 0 10 10zM4 17c.5-3.3 3-5 6-5s5.5 1.7 6 5",
  eyeOff: "M3 10s2.5-4.5 7-4.5S17 10 17 10s-2.5 4.5-7 4.5S3 10 3 10zM4 16L16 4",
  sliders: "M4 6h7M15 6h1M4 14h1M9 14h7M13 4v4M7 12v4",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg className="icon" viewBox="0 0 20 20" width={size} height={size} aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function StopIcon() {
  return (
    <svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
      <rect x="5" y="5" width="10" height="10" rx="2" />
    </svg>
  );
}

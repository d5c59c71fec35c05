import { type KeyboardEvent, type Ref, useEffect, useImperativeHandle, useRef, useState } from "react";

interface Props {
  ref: Ref<HTMLTextAreaElement>;
  busy: boolean;
  ready: boolean;
  onSend: (text: string) => void;
  onStop: () => void;
}

/** Where a person writes. Enter sends, Shift+Enter breaks the line, Escape stops the answer. */
export function Composer({ ref, busy, ready, onSend, onStop }: Props) {
  const [text, setText] = useState("");
  const area = useRef<HTMLTextAreaElement>(null);
  useImperativeHandle(ref, () => area.current as HTMLTextAreaElement, []);

  useEffect(() => {
    const element = area.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${Math.min(element.scrollHeight, 200)}px`;
  }, [text]);

  useEffect(() => {
    const escape = (event: globalThis.KeyboardEvent) => {
      if (event.key === "Escape") onStop();
    };
    addEventListener("keydown", escape);
    return () => removeEventListener("keydown", escape);
  }, [onStop]);

  const sendable = ready && !busy && text.trim() !== "";
  const send = () => {
    if (!sendable) return;
    onSend(text.trim());
    setText("");
  };
  const key = (event: KeyboardEvent) => {
    // While an input method composes (Chinese, Japanese, ...), Enter belongs to it.
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
      event.preventDefault();
      send();
    }
  };

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <label className="hidden" htmlFor="message">
        Message
      </label>
      <textarea
        id="message"
        ref={area}
        rows={1}
        value={text}
        placeholder="Write a message"
        onChange={(event) => setText(event.target.value)}
        onKeyDown={key}
        autoFocus
      />
      {busy ? (
        <button type="button" className="round stop" onClick={onStop} aria-label="Stop answering" title="Stop (Esc)">
          <svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
            <rect x="5" y="5" width="10" height="10" rx="2" />
          </svg>
        </button>
      ) : (
        <button type="submit" className="round" disabled={!sendable} aria-label="Send" title="Send (Enter)">
          <svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
            <path d="M10 16V4.5M5 9l5-5 5 5" />
          </svg>
        </button>
      )}
    </form>
  );
}

import { type ClipboardEvent, type KeyboardEvent, type Ref, useEffect, useImperativeHandle, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { loadDraft, saveDraft } from "../lib/drafts";
import { LONGEST_TURN, MOST_FILES, readTextFile } from "../lib/files";
import { bytes } from "../lib/format";
import type { Attachment } from "../lib/types";
import { Icon, StopIcon } from "../ui/icons";

export interface ComposerHandle {
  focus: () => void;
  addFiles: (files: Iterable<File>) => void;
}

interface Props {
  ref: Ref<ComposerHandle>;
  /** The chat whose draft this is. */
  draft: string;
  busy: boolean;
  ready: boolean;
  /** True once the server has it; what it does not take comes back into the box. */
  onSend: (text: string, files: Attachment[]) => Promise<boolean>;
  onStop: () => void;
  onEditLast: () => void;
}

/** Where a person writes. Enter sends, Shift+Enter breaks the line; what is not sent is kept. */
export function Composer({ ref, draft, busy, ready, onSend, onStop, onEditLast }: Props) {
  const { t } = useTranslation();
  const [text, setText] = useState(() => loadDraft(localStorage, draft));
  const [files, setFiles] = useState<Attachment[]>([]);
  const [problem, setProblem] = useState("");
  const area = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const sending = useRef(false);

  const shownDraft = useRef(draft);
  useEffect(() => {
    if (shownDraft.current === draft) return;
    shownDraft.current = draft;
    // The first question gives a chat its address; what is typed meanwhile stays in the box.
    if (!sending.current) {
      setText(loadDraft(localStorage, draft));
      setFiles([]);
    }
    setProblem("");
  }, [draft]);
  useEffect(() => {
    const element = area.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${Math.min(element.scrollHeight, 240)}px`;
  }, [text]);

  const change = (next: string) => {
    setText(next);
    saveDraft(localStorage, draft, next);
  };
  const addFiles = async (found: Iterable<File>) => {
    setProblem("");
    const read: Attachment[] = [];
    for (const file of found) {
      try {
        read.push(await readTextFile(file));
      } catch (error) {
        setProblem((error as Error).message);
      }
    }
    if (files.length + read.length > MOST_FILES) setProblem(t("files.many", { count: MOST_FILES }));
    setFiles((old) => [...old, ...read].slice(0, MOST_FILES));
  };
  useImperativeHandle(ref, () => ({ focus: () => area.current?.focus(), addFiles: (found) => void addFiles(found) }));

  const size = text.length + files.reduce((sum, file) => sum + file.text.length, 0);
  const sendable = ready && !busy && (text.trim() !== "" || files.length > 0);
  const send = async () => {
    if (!sendable || sending.current) return;
    if (size > LONGEST_TURN) return setProblem(t("files.tooMuch", { most: LONGEST_TURN }));
    const sent = { text: text.trim(), files };
    sending.current = true;
    setText("");
    setFiles([]);
    setProblem("");
    const from = draft;
    const taken = await onSend(sent.text, sent.files);
    sending.current = false;
    if (taken) return saveDraft(localStorage, from, "");
    setText((now) => now || sent.text);
    setFiles((now) => (now.length ? now : sent.files));
  };
  const key = (event: KeyboardEvent) => {
    // While an input method composes (Chinese, Japanese, ...), Enter belongs to it.
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
      event.preventDefault();
      void send();
    }
    if (event.key === "ArrowUp" && !text && !busy) {
      event.preventDefault();
      onEditLast();
    }
  };
  const paste = (event: ClipboardEvent) => {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    void addFiles([...event.clipboardData.files]);
  };

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      {files.length > 0 && (
        <ul className="files">
          {files.map((file, index) => (
            <li key={index}>
              <Icon name="clip" size={15} />
              <bdi>{file.name}</bdi>
              <span className="quiet">{bytes(file.text.length)}</span>
              <button
                type="button"
                className="icon-button small"
                aria-label={t("files.remove", { name: file.name })}
                onClick={() => {
                  setFiles(files.filter((one) => one !== file));
                  area.current?.focus();
                }}
              >
                <Icon name="close" size={14} />
              </button>
            </li>
          ))}
        </ul>
      )}
      {problem && (
        <p className="problem" role="alert">
          {problem}
        </p>
      )}
      <div className="composer-row">
        <input
          ref={picker}
          type="file"
          multiple
          hidden
          accept="text/*,.md,.csv,.json,.jsonl,.yaml,.yml,.toml,.ini,.log,.py,.js,.ts,.tsx,.rs,.go,.c,.h,.cpp,.java,.sh,.sql,.tex"
          onChange={(event) => {
            void addFiles([...(event.target.files ?? [])]); // the list itself empties with the next line
            event.target.value = "";
          }}
        />
        <button
          type="button"
          className="icon-button"
          aria-label={t("files.add")}
          title={t("files.add")}
          onClick={() => picker.current?.click()}
        >
          <Icon name="clip" size={20} />
        </button>
        <textarea
          id="message"
          ref={area}
          rows={1}
          dir="auto"
          value={text}
          aria-label={t("chat.message")}
          placeholder={t("chat.write")}
          onChange={(event) => change(event.target.value)}
          onKeyDown={key}
          onPaste={paste}
          autoFocus
        />
        {busy ? (
          <button type="button" className="round stop" onClick={onStop} aria-label={t("chat.stop")} title={t("chat.stopTitle")}>
            <StopIcon />
          </button>
        ) : (
          <button type="submit" className="round" aria-disabled={!sendable} aria-label={t("chat.send")} title={t("chat.sendTitle")}>
            <Icon name="send" size={20} />
          </button>
        )}
      </div>
    </form>
  );
}

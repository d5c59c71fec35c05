import { useEffect, useMemo, useRef, useState } from "react";
import { fetchStarters, type Model } from "../lib/api";
import { isBusy, modelAbout, modelTitle } from "../lib/chat";
import { Composer } from "./composer";
import { Transcript } from "./transcript";
import { useConversation } from "./use-conversation";
import { Welcome } from "./welcome";

interface Props {
  models: Model[];
  problem: string;
  refresh: () => void;
}

export function ChatPage({ models, problem, refresh }: Props) {
  const [picked, setPicked] = useState("");
  const [compare, setCompare] = useState(false);
  const [starters, setStarters] = useState<string[]>([]);
  const chat = useConversation();
  const input = useRef<HTMLTextAreaElement>(null);
  const busy = isBusy(chat.turns);

  const served = models.map((model) => model.id).join();
  useEffect(() => {
    if (served) fetchStarters().then(setStarters, () => setStarters([]));
  }, [served]);

  const fallback = models.find((model) => model.metadata.default) ?? models[0];
  const current = models.find((model) => model.id === picked) ?? fallback;
  const asked = useMemo(() => (compare ? models : current ? [current] : []), [compare, models, current]);

  const send = (text: string) => {
    chat.ask(text, asked);
    input.current?.focus();
  };
  const startOver = () => {
    chat.clear();
    input.current?.focus();
  };

  return (
    <main id="main" className={compare ? "chat comparing" : "chat"}>
      <h1 className="hidden">Chat</h1>
      <div className="chat-bar">
        {compare ? (
          <span className="picker-note">Asking all {models.length} models</span>
        ) : (
          <Picker models={models} current={current} onPick={setPicked} />
        )}
        <span className="spread" />
        {models.length > 1 && (
          <button type="button" className="switch" role="switch" aria-checked={compare} onClick={() => setCompare(!compare)}>
            <span className="switch-track" aria-hidden="true" />
            Compare
          </button>
        )}
        <button type="button" className="plain" aria-label="New chat" onClick={startOver} disabled={chat.turns.length === 0}>
          <svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true">
            <path d="M10 4v12M4 10h12" />
          </svg>
          <span>New chat</span>
        </button>
      </div>
      {chat.turns.length === 0 ? (
        <Welcome model={current} starters={starters} onStart={send} />
      ) : (
        <Transcript turns={chat.turns} onRetry={chat.retry} canRetry={!busy} />
      )}
      <p className="hidden" role="status">
        {chat.status}
      </p>
      <div className="chat-foot">
        {problem && (
          <p className="problem" role="alert">
            {problem}{" "}
            <button type="button" className="linklike" onClick={refresh}>
              Try again
            </button>
          </p>
        )}
        <Composer ref={input} busy={busy} ready={asked.length > 0} onSend={send} onStop={chat.stop} />
        <Notice model={current} />
      </div>
    </main>
  );
}

function Picker({ models, current, onPick }: { models: Model[]; current: Model | undefined; onPick: (id: string) => void }) {
  if (!current) return <span className="picker-note">No model is served yet</span>;
  return (
    <label className="picker">
      <span className="hidden">Model</span>
      <select value={current.id} onChange={(event) => onPick(event.target.value)}>
        {models.map((model) => (
          <option key={model.id} value={model.id}>
            {modelTitle(model.metadata.name)}
            {model.metadata.state === "ready" ? "" : ` (${model.metadata.state})`}
          </option>
        ))}
      </select>
      <span className="quiet">{modelAbout(current.metadata.name, current.metadata.role)}</span>
    </label>
  );
}

function Notice({ model }: { model: Model | undefined }) {
  if (!model) return null;
  const simulated = model.metadata.source === "simulated";
  return (
    <p className="notice quiet">
      {simulated
        ? "It learned from an invented world and simulated raters. It knows nothing else."
        : "It can be wrong. Check what matters."}
    </p>
  );
}

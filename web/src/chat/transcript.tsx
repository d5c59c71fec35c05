import { memo, useEffect, useLayoutEffect, useRef } from "react";
import { type Answer, modelAbout, modelTitle, type Turn } from "../lib/chat";
import { renderMarkdown } from "../lib/markdown";

interface Props {
  turns: Turn[];
  canRetry: boolean;
  onRetry: (turn: string, model: string) => void;
}

const NEAR_BOTTOM = 80;

/** The conversation. It follows the newest text until the person scrolls up, and again once they are back down. */
export function Transcript({ turns, canRetry, onRetry }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const following = useRef(true);

  useLayoutEffect(() => {
    const element = box.current;
    if (element && following.current) element.scrollTop = element.scrollHeight;
  }, [turns]);

  useEffect(() => {
    following.current = true;
    const element = box.current;
    if (element) element.scrollTop = element.scrollHeight;
  }, [turns.length]);

  const follow = () => {
    const element = box.current;
    if (element) following.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_BOTTOM;
  };

  return (
    <div className="transcript" ref={box} onScroll={follow} tabIndex={0} role="log" aria-live="off" aria-label="Conversation">
      {turns.map((turn) => (
        <article key={turn.id} className={turn.answers.length > 1 ? "turn many" : "turn"}>
          <div className="said">
            <h2 className="hidden">You</h2>
            <p>{turn.user}</p>
          </div>
          <div className="answers">
            {turn.answers.map((answer) => (
              <AnswerView
                key={answer.model}
                answer={answer}
                many={turn.answers.length > 1}
                canRetry={canRetry}
                onRetry={() => onRetry(turn.id, answer.model)}
              />
            ))}
          </div>
        </article>
      ))}
    </div>
  );
}

interface AnswerProps {
  answer: Answer;
  many: boolean;
  canRetry: boolean;
  onRetry: () => void;
}

function AnswerView({ answer, many, canRetry, onRetry }: AnswerProps) {
  const open = answer.status === "waiting" || answer.status === "streaming";
  return (
    <section className="answer" aria-busy={open}>
      <h2 className="answer-name">
        {modelTitle(answer.name)}
        {many && <span className="quiet">{modelAbout(answer.name, "")}</span>}
      </h2>
      {answer.dropped > 0 && <p className="remark">Earlier messages no longer fit and were left out.</p>}
      {answer.text && <Markdown text={answer.text} />}
      {open && <span className={answer.text ? "caret" : "caret alone"} aria-hidden="true" />}
      <Remark answer={answer} canRetry={canRetry} onRetry={onRetry} />
    </section>
  );
}

function Remark({ answer, canRetry, onRetry }: Omit<AnswerProps, "many">) {
  if (answer.status === "error") {
    return (
      <p className="problem" role="alert">
        {answer.detail}{" "}
        <button type="button" className="linklike" onClick={onRetry} disabled={!canRetry}>
          Try again
        </button>
      </p>
    );
  }
  if (answer.status === "stopped") return <p className="remark">Stopped.</p>;
  if (answer.status === "done" && answer.detail === "length") return <p className="remark">Cut at its length limit.</p>;
  if (answer.status === "done" && !answer.text) return <p className="remark">It said nothing.</p>;
  return null;
}

const Markdown = memo(function Markdown({ text }: { text: string }) {
  return <div className="markdown" dangerouslySetInnerHTML={{ __html: renderMarkdown(text) }} />;
});

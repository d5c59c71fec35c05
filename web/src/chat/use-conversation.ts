import { useCallback, useEffect, useReducer, useRef, useState } from "react";
import { ApiFailure, type Model, streamChat } from "../lib/api";
import { conversation, isBusy, loadTurns, messagesFor, saveTurns, type Turn } from "../lib/chat";

let counter = 0;
const freshId = () => `turn-${Date.now().toString(36)}-${counter++}`;

/** The conversation and what can be done with it. Text is shown once a frame, however fast it arrives. */
export function useConversation() {
  const [turns, dispatch] = useReducer(conversation, localStorage, loadTurns);
  const [status, setStatus] = useState("");
  const newest = useRef(turns);
  const running = useRef(new Set<AbortController>());
  newest.current = turns;

  const busy = isBusy(turns);
  useEffect(() => {
    if (!busy) saveTurns(localStorage, turns);
  }, [turns, busy]);

  const answer = useCallback(async (all: Turn[], index: number, model: string): Promise<"done" | "stopped" | "error"> => {
    const turn = all[index]?.id ?? "";
    const control = new AbortController();
    running.current.add(control);
    const shown = perFrame((text) => dispatch({ type: "text", turn, model, text }));
    try {
      const finished = await streamChat(model, messagesFor(all, index, model), control.signal, shown.add);
      shown.flush();
      dispatch({ type: "end", turn, model, status: "done", detail: finished.reason, dropped: finished.dropped });
      return "done";
    } catch (error) {
      shown.flush();
      const status = control.signal.aborted ? "stopped" : "error";
      const detail = error instanceof ApiFailure ? error.message : "Something went wrong on this page.";
      dispatch({ type: "end", turn, model, status, detail: status === "error" ? detail : "" });
      return status;
    } finally {
      running.current.delete(control);
    }
  }, []);

  const announce = useCallback(async (answers: Promise<"done" | "stopped" | "error">[]) => {
    setStatus("Answering");
    const ends = await Promise.all(answers);
    setStatus(ends.includes("error") ? "The answer failed" : ends.includes("stopped") ? "Stopped" : "Answer complete");
  }, []);

  const ask = useCallback(
    (user: string, models: Model[]) => {
      const answers = models.map((model) => ({
        model: model.id,
        name: model.metadata.name,
        text: "",
        status: "waiting" as const,
        detail: "",
        dropped: 0,
      }));
      const turn: Turn = { id: freshId(), user, answers };
      const all = [...newest.current, turn];
      dispatch({ type: "ask", turn });
      void announce(models.map((model) => answer(all, all.length - 1, model.id)));
    },
    [answer, announce],
  );

  const retry = useCallback(
    (turn: string, model: string) => {
      const index = newest.current.findIndex((one) => one.id === turn);
      if (index < 0) return;
      dispatch({ type: "retry", turn, model });
      void announce([answer(newest.current, index, model)]);
    },
    [answer, announce],
  );

  const stop = useCallback(() => {
    for (const control of running.current) control.abort();
  }, []);

  const clear = useCallback(() => {
    stop();
    dispatch({ type: "clear" });
    setStatus("New chat");
  }, [stop]);

  useEffect(() => stop, [stop]);

  return { turns, status, ask, retry, stop, clear };
}

/** Collects pieces of text and hands them on at most once a frame. */
function perFrame(show: (text: string) => void) {
  let text = "";
  let frame = 0;
  const flush = () => {
    cancelAnimationFrame(frame);
    frame = 0;
    if (text) show(text);
    text = "";
  };
  const add = (piece: string) => {
    text += piece;
    frame ||= requestAnimationFrame(flush);
  };
  return { add, flush };
}

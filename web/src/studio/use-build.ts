import { useEffect, useState } from "react";
import { type Build, type BuildEvent, emptyBuild, foldEvents, type Status } from "../lib/build";

const FLUSH_MS = 120;

/** Follows the build. Events are folded in batches, so that a long history costs a few renders, not thousands. */
export function useBuild(): { build: Build; connected: boolean } {
  const [build, setBuild] = useState(emptyBuild);
  const [connected, setConnected] = useState(true);

  useEffect(() => {
    const source = new EventSource("/api/build/events");
    let waiting: BuildEvent[] = [];
    let status: Status | null = null;
    let timer = 0;
    const flush = () => {
      timer = 0;
      const events = waiting;
      const newest = status;
      waiting = [];
      setBuild((old) => ({ ...foldEvents(old, events), status: newest ?? old.status }));
    };
    const soon = () => {
      timer ||= window.setTimeout(flush, FLUSH_MS);
    };
    source.addEventListener("build", (event) => {
      waiting.push(JSON.parse((event as MessageEvent<string>).data) as BuildEvent);
      soon();
    });
    source.addEventListener("status", (event) => {
      status = JSON.parse((event as MessageEvent<string>).data) as Status;
      soon();
    });
    source.addEventListener("reset", () => {
      waiting = [];
      status = null;
      setBuild(emptyBuild());
    });
    source.addEventListener("open", () => setConnected(true));
    source.addEventListener("error", () => setConnected(false));
    return () => {
      source.close();
      clearTimeout(timer);
    };
  }, []);

  return { build, connected };
}

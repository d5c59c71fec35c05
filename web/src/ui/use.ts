import { useCallback, useEffect, useState } from "react";
import { failureText } from "../lib/api";

/** Whether the window matches a media query, now and later. */
export function useMedia(query: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query);
    const follow = () => setMatches(list.matches);
    follow();
    list.addEventListener("change", follow);
    return () => list.removeEventListener("change", follow);
  }, [query]);
  return matches;
}

export interface Loaded<T> {
  data: T | null;
  problem: string;
  reload: () => void;
  set: (data: T) => void;
}

/** What `load` finds; asked again whenever `keys` change or on `reload`. A late answer to an old question is dropped. */
export function useLoaded<T>(load: () => Promise<T>, keys: readonly unknown[]): Loaded<T> {
  const [data, set] = useState<T | null>(null);
  const [problem, setProblem] = useState("");
  const [asked, setAsked] = useState(0);
  useEffect(() => {
    let over = false;
    load().then(
      (found) => {
        if (over) return;
        set(found);
        setProblem("");
      },
      (error: unknown) => !over && setProblem(failureText(error)),
    );
    return () => {
      over = true;
    };
  }, [asked, ...keys]); // `load` is a new function each time; `keys` say when it differs
  return { data, problem, reload: useCallback(() => setAsked((number) => number + 1), []), set };
}

/** A request that is under way, and how the last one failed. */
export function useAction() {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const run = async (work: () => Promise<unknown>): Promise<boolean> => {
    setBusy(true);
    setProblem("");
    try {
      await work();
      return true;
    } catch (error) {
      setProblem(failureText(error));
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { busy, problem, run, setProblem };
}

export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByHand(text);
  }
}

/** For pages that are not served over TLS, where the clipboard is withheld. */
function copyByHand(text: string): boolean {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "hidden";
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  const before = document.activeElement as HTMLElement | null;
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus();
  return done;
}

import { useCallback, useEffect, useState } from "react";
import { failureText, fetchModels } from "./lib/api";
import type { Model } from "./lib/types";

const SOON = 2_000;
const SETTLED = 20_000;

/** The models served now; asked often until all are ready, seldom afterwards, never while the page is hidden. */
export function useModels(wanted: boolean) {
  const [models, setModels] = useState<Model[] | null>(null);
  const [problem, setProblem] = useState("");
  const [asked, setAsked] = useState(0);
  const refresh = useCallback(() => setAsked((number) => number + 1), []);

  useEffect(() => {
    if (!wanted) return;
    let timer = 0;
    let over = false;
    const ask = async () => {
      let settled = false;
      if (document.visibilityState === "visible") {
        try {
          const found = await fetchModels();
          settled = found.length > 0 && found.every((model) => model.state === "ready");
          if (!over) {
            setModels((old) => (JSON.stringify(old) === JSON.stringify(found) ? old : found));
            setProblem("");
          }
        } catch (error) {
          if (!over) setProblem(failureText(error));
        }
      }
      if (!over) timer = window.setTimeout(ask, settled ? SETTLED : SOON);
    };
    void ask();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [asked, wanted]);

  return { models, problem, refresh };
}

import { useCallback, useEffect, useState } from "react";
import { fetchModels, type Model } from "./lib/api";

const SOON = 2_000;
const SETTLED = 20_000;

/** The models served now; asked often until all are ready, seldom afterwards, never while the page is hidden. */
export function useModels() {
  const [models, setModels] = useState<Model[] | null>(null);
  const [problem, setProblem] = useState("");
  const [asked, setAsked] = useState(0);
  const refresh = useCallback(() => setAsked((number) => number + 1), []);

  useEffect(() => {
    let timer = 0;
    let over = false;
    const ask = async () => {
      let settled = false;
      if (document.visibilityState === "visible") {
        try {
          const found = await fetchModels();
          settled = found.length > 0 && found.every((model) => model.metadata.state === "ready");
          if (!over) {
            setModels((old) => (JSON.stringify(old) === JSON.stringify(found) ? old : found));
            setProblem("");
          }
        } catch (error) {
          if (!over) setProblem(String((error as Error).message));
        }
      }
      if (!over) timer = window.setTimeout(ask, settled ? SETTLED : SOON);
    };
    void ask();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [asked]);

  return { models, problem, refresh };
}

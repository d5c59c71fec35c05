import { createContext, type ReactNode, useCallback, useContext, useEffect, useRef, useState } from "react";

interface Said {
  text: string;
  action?: { label: string; run: () => void };
}

const SHOWN_MS = 7_000;
const Context = createContext<(said: Said) => void>(() => undefined);

/** Says something at the edge of the page for a while, perhaps with a way back. */
export const useToast = () => useContext(Context);

export function Toasts({ children }: { children: ReactNode }) {
  const [said, setSaid] = useState<Said | null>(null);
  const timer = useRef(0);
  const say = useCallback((next: Said) => {
    setSaid(next);
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => setSaid(null), SHOWN_MS);
  }, []);
  useEffect(() => () => clearTimeout(timer.current), []);
  return (
    <Context.Provider value={say}>
      {children}
      <div className="toasts" role="status">
        {said && (
          <div className="toast">
            <span>{said.text}</span>
            {said.action && (
              <button
                type="button"
                className="linklike"
                onClick={() => {
                  setSaid(null);
                  said.action?.run();
                }}
              >
                {said.action.label}
              </button>
            )}
          </div>
        )}
      </div>
    </Context.Provider>
  );
}

/** Highlighting and mathematics: fetched when a text first needs them, and drawn once they are there. */

import type { HLJSApi } from "highlight.js";

type Katex = typeof import("katex");
const listeners = new Set<() => void>();
let version = 0;
let code: HLJSApi | null = null;
let math: Katex | null = null;
const asked = { code: false, math: false };

export const richVersion = () => version;

export function subscribeRich(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function arrived(): void {
  version++;
  for (const listener of listeners) listener();
}

/** The highlighter, or null until it is here. */
export function highlighter(): HLJSApi | null {
  if (!asked.code) {
    asked.code = true;
    import("./highlight").then(
      (found) => {
        code = found.default;
        arrived();
      },
      () => (asked.code = false), // without it code is shown plain; the next text asks again
    );
  }
  return code;
}

/** KaTeX, or null until it is here. */
export function typesetter(): Katex | null {
  if (!asked.math) {
    asked.math = true;
    import("katex").then(
      (found) => {
        math = (found as unknown as { default: Katex }).default;
        arrived();
      },
      () => (asked.math = false),
    );
  }
  return math;
}

/** Resolves once whatever was asked for is here. For tests. */
export async function richReady(): Promise<void> {
  highlighter();
  typesetter();
  while (!code || !math) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Where mathematics stands in Markdown: $x$, $$x$$, \(x\) and \[x\], inline and as blocks of their own. */

import type { MarkdownIt, StateBlock, StateInline } from "markdown-it";

const LONGEST = 10_000;

export function mathSyntax(markdown: MarkdownIt): void {
  markdown.inline.ruler.before("escape", "math", inlineMath);
  markdown.block.ruler.before("fence", "math_block", blockMath, {
    alt: ["paragraph", "reference", "blockquote", "list"],
  });
}

function inlineMath(state: StateInline, silent: boolean): boolean {
  const { src, pos } = state;
  const open = ["$$", "$", "\\(", "\\["].find((mark) => src.startsWith(mark, pos));
  if (!open) return false;
  const close = open === "\\(" ? "\\)" : open === "\\[" ? "\\]" : open;
  const from = pos + open.length;
  const to = endOf(src, from, close);
  if (to < 0 || to - from > LONGEST) return false;
  const tex = src.slice(from, to);
  if (!tex.trim()) return false;
  // A dollar sign is money unless what it encloses touches both signs, and no digit follows.
  if (open === "$" && (/^\s|\s$/.test(tex) || /\d/.test(src[to + 1] ?? "") || tex.includes("\n\n"))) return false;
  if (!silent) {
    const token = state.push(open === "$" || open === "\\(" ? "math_inline" : "math_display", "math", 0);
    token.content = tex.trim();
  }
  state.pos = to + close.length;
  return true;
}

function endOf(src: string, from: number, close: string): number {
  for (let at = src.indexOf(close, from); at >= 0; at = src.indexOf(close, at + 1)) {
    if (close.startsWith("\\") || src[at - 1] !== "\\") return at;
  }
  return -1;
}

function blockMath(state: StateBlock, start: number, end: number, silent: boolean): boolean {
  const lineOf = (line: number) => state.src.slice((state.bMarks[line] ?? 0) + (state.tShift[line] ?? 0), state.eMarks[line]);
  const first = lineOf(start);
  const open = first.startsWith("$$") ? "$$" : first.startsWith("\\[") ? "\\[" : "";
  if (!open || (state.sCount[start] ?? 0) - state.blkIndent >= 4) return false;
  const close = open === "$$" ? "$$" : "\\]";
  const lines: string[] = [];
  for (let line = start; line < end; line++) {
    const text = line === start ? first.slice(2) : lineOf(line);
    if (line > start && (state.sCount[line] ?? 0) < state.blkIndent) return false;
    const trimmed = text.trimEnd();
    if (trimmed.endsWith(close)) {
      lines.push(trimmed.slice(0, -close.length));
      const tex = lines.join("\n").trim();
      if (!tex || tex.length > LONGEST) return false;
      if (silent) return true;
      const token = state.push("math_display", "math", 0);
      token.block = true;
      token.content = tex;
      token.map = [start, line + 1];
      state.line = line + 1;
      return true;
    }
    if (trimmed.includes(close)) return false;
    lines.push(text);
  }
  return false;
}

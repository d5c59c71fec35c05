/** Markdown in the middle of being written. What is open is closed, and what may become anything waits, so that
 * nothing jumps when the rest arrives. Pure. */

const MARKS = ["**", "__", "~~", "*", "_"] as const;

/** The last block of an answer, made whole. */
export function closed(block: string): string {
  const fence = /^ {0,3}(`{3,}|~{3,})/.exec(block);
  if (fence) return closedFence(block, fence[1] ?? "```");
  if (/^\s*(\$\$|\\\[)/.test(block)) return closedMath(block);
  if (/^ {0,3}\|/.test(block)) return closedTable(block);
  return closedInline(waiting(block));
}

/** Half of the closing fence is no line of code. */
function closedFence(block: string, fence: string): string {
  const lines = block.split("\n");
  const last = lines.at(-1)?.trim() ?? "";
  if (lines.length > 1 && last && last.length < fence.length && fence.startsWith(last)) lines.pop();
  return lines.join("\n");
}

function closedMath(block: string): string {
  const close = block.trimStart().startsWith("$$") ? "$$" : "\\]";
  const body = block.trimStart().slice(2);
  if (body.includes(close)) return block;
  return body.trim().replace(/[$\\]$/, "") ? `${block.replace(/[$\\]$/, "")}\n${close}` : "";
}

/** A table is one from its first row on: the line under its head is written for it. */
function closedTable(block: string): string {
  const lines = block.split("\n");
  const columns = Math.max(1, (lines[0]?.match(/(?<!\\)\|/g)?.length ?? 2) - 1);
  const rule = `|${" - |".repeat(columns)}`;
  if (lines.length === 1) return lines[0]?.trimEnd().endsWith("|") && columns > 0 && lines[0].trim() !== "|" ? `${lines[0]}\n${rule}` : "";
  if (lines.length === 2 && /^[\s|:-]*$/.test(lines[1] ?? "")) return `${lines[0]}\n${rule}`;
  return block;
}

/** Without the end that may be the beginning of anything: a rule or heading under a line, a bullet, a mark alone. */
function waiting(block: string): string {
  const lines = block.split("\n");
  const last = lines.at(-1) ?? "";
  if (/^\s*(#{1,6}|[-=*+_]{1,3}|\d{1,9}[.)]?|`{1,2}|~{1,2}|>|\|)\s*$/.test(last) && !(lines.length === 1 && /^\s*\d+\s*$/.test(last)))
    lines.pop();
  return lines.join("\n");
}

function closedInline(block: string): string {
  const ticks = openTicks(block);
  if (ticks) {
    const at = block.lastIndexOf(ticks);
    return at + ticks.length >= block.trimEnd().length ? block.slice(0, at) : block + ticks;
  }
  let text = block.replace(/(\*{1,3}|_{1,3}|~{1,2}|!?\[)$/, "");
  // A link whose address is on its way shows its words; they become a link when it is whole.
  text = text.replace(/!?\[([^\][\n]*)\]\([^()\s]*$/, "$1").replace(/!?\[([^\][\n]*)\]?$/, "$1");
  const bare = text.replace(/(`+)[\s\S]*?\1/g, "").replace(/\\./g, "").replace(/^\s*[*+-]\s/gm, "");
  const open: string[] = [];
  let rest = bare;
  for (const mark of MARKS) {
    const parts = rest.split(mark);
    const tail = parts.at(-1) ?? "";
    const head = parts.at(-2) ?? "";
    const inWord = mark.startsWith("_") && /\w$/.test(head) && /^\w/.test(tail);
    if (parts.length % 2 === 0 && /^\S/.test(tail) && !inWord) open.push(mark);
    rest = parts.join(" ");
  }
  const ending = text.trimEnd();
  return open.length ? ending + open.reverse().join("") : text;
}

/** The run of backticks that opened code and is not closed, or "". */
function openTicks(text: string): string {
  let open = "";
  for (const [run] of text.matchAll(/`+/g)) {
    if (!open) open = run;
    else if (run === open) open = "";
  }
  return open;
}

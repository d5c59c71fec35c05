// @vitest-environment jsdom
import { describe, expect, test } from "vitest";
import { blocksOf, renderMarkdown } from "./markdown";
import { closed } from "./unfinished";

const shape = (text: string) => {
  const box = document.createElement("div");
  box.innerHTML = renderMarkdown(text);
  return box;
};

describe("closed", () => {
  test.each([
    ["a **bo", "a **bo**"],
    ["a *it", "a *it*"],
    ["a ~~no", "a ~~no~~"],
    ["a `co", "a `co`"],
    ["a `", "a "],
    ["a **", "a "],
    ["see [the page](https://exa", "see the page"],
    ["see [the pa", "see the pa"],
    ["snake_case_name", "snake_case_name"],
    ["2 * 3 = 6", "2 * 3 = 6"],
    ["a **bold** word", "a **bold** word"],
    ["a title\n-", "a title"],
    ["```python\nprint(1)\n``", "```python\nprint(1)"],
  ])("%j is shown as %j", (written, shown) => expect(closed(written)).toBe(shown));

  test("a table is a table from its first row on", () => {
    for (const text of ["| a | b |", "| a | b |\n|", "| a | b |\n| - |", "| a | b |\n|---|---|", "| a | b |\n|---|---|\n| 1"])
      expect(shape(closed(text)).querySelectorAll("th"), text).toHaveLength(2);
  });

  test("at no length does an answer show marks that its whole form does not", () => {
    const whole = "Some **bold** and *italic* text with `code` in it, [a link](https://example.org/x) too.";
    for (let length = 1; length <= whole.length; length++) {
      const text = shape(closed(whole.slice(0, length))).textContent ?? "";
      expect(text, `${length}`).not.toMatch(/[*`[\]]/);
    }
  });
});

describe("blocksOf", () => {
  const text = "# One\n\npara **b**\nmore\n\n- a\n\n- b\n\n```js\nx\n\ny\n```\n\n> q\n\n| a |\n|---|\n| 1 |\n\n$$\nx\n$$\n\nend";

  test("blocks drawn one by one are the whole drawn at once", () => {
    const { sources, references } = blocksOf(text);
    expect(sources.length).toBe(8);
    expect(sources.map((source) => renderMarkdown(source, undefined, references)).join("").replace(/\s+/g, "")).toBe(
      renderMarkdown(text).replace(/\s+/g, ""),
    );
  });

  test("text that grows leaves its earlier blocks as they were", () => {
    let before: string[] = [];
    for (let length = 1; length <= text.length; length++) {
      const { sources } = blocksOf(text.slice(0, length));
      const settled = before.slice(0, Math.max(0, before.length - 2));
      expect(sources.slice(0, settled.length)).toEqual(settled);
      before = sources;
    }
  });

  test("links that are named elsewhere in the text lead there", () => {
    const { sources, references } = blocksOf("see [it][1]\n\nmore\n\n[1]: https://example.org/a");
    expect(renderMarkdown(sources[0] ?? "", undefined, references)).toContain('href="https://example.org/a"');
  });
});

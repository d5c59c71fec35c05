// @vitest-environment jsdom
import { describe, expect, test } from "vitest";
import { renderMarkdown } from "./markdown";

const HOSTILE = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "<svg/onload=alert(1)>",
  "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
  "[click](javascript:alert(1))",
  "[click](JaVaScRiPt:alert(1))",
  "[click](java\nscript:alert(1))",
  "[click](data:text/html;base64,PHNjcmlwdD4=)",
  "[click](vbscript:x)",
  "<a href='javascript:alert(1)'>x</a>",
  "![x](https://example.org/secret.png)",
  "![x][1]\n\n[1]: https://example.org/secret.png",
  "<javascript:alert(1)>",
  "`<img src=x onerror=alert(1)>`",
  "```\n</code><img src=x onerror=alert(1)>\n```",
  '```"><img src=x onerror=alert(1)>\ncode\n```',
  "<style>*{background:url(https://example.org)}</style>",
  "<form action=https://example.org><input></form>",
  "<math><mtext></mtext><mglyph><style><img src=x onerror=alert(1)></style></mglyph></math>",
  "&lt;img src=x onerror=alert(1)&gt;",
];

function parsed(text: string): HTMLElement {
  const box = document.createElement("div");
  box.innerHTML = renderMarkdown(text);
  return box;
}

describe("renderMarkdown", () => {
  test.each(HOSTILE)("nothing loads, runs or submits: %s", (text) => {
    const box = parsed(text);
    expect(box.querySelector("script,img,svg,iframe,style,form,input,math,object,embed,link,base")).toBeNull();
    for (const element of box.querySelectorAll("*")) {
      for (const { name, value } of element.attributes) {
        expect(name).toMatch(/^(href|target|rel|start|class|title)$/);
        if (name === "href") expect(value).toMatch(/^https?:\/\//);
      }
    }
  });

  test("links leave without a trace and say where they lead", () => {
    const link = parsed("[home](https://example.org/a?b=1)").querySelector("a");
    expect(link?.getAttribute("rel")).toBe("noopener noreferrer nofollow");
    expect(link?.getAttribute("target")).toBe("_blank");
    expect(link?.title).toBe("https://example.org/a?b=1");
  });

  test("ordinary Markdown keeps its meaning", () => {
    const box = parsed("**b** and `c`\n\n- one\n- two\n\n|a|b|\n|-|-|\n|1|2|\n\n```python\nprint(1)\n```");
    expect(box.querySelector("strong")?.textContent).toBe("b");
    expect(box.querySelectorAll("li")).toHaveLength(2);
    expect(box.querySelectorAll("td")).toHaveLength(2);
    expect(box.querySelector("pre code")?.textContent).toBe("print(1)\n");
  });
});

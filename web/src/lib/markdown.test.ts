// @vitest-environment jsdom
import { describe, expect, test } from "vitest";
import { renderMarkdown } from "./markdown";
import { richReady } from "./rich";

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
    for (const button of box.querySelectorAll("button")) expect(button.className).toBe("copy-code");
    for (const element of box.querySelectorAll("*")) {
      for (const { name, value } of element.attributes) {
        expect(name).toMatch(/^(href|target|rel|start|class|title|type|tabindex|role|aria-label)$/);
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

  test("a picture is a link that says so, and nothing is fetched", () => {
    const link = parsed("![a cat](https://example.org/cat.png)").querySelector("a.picture");
    expect(link?.textContent).toBe("Picture: a cat");
    expect(link?.getAttribute("href")).toBe("https://example.org/cat.png");
  });
});

describe("with highlighting and mathematics loaded", () => {
  test("code is coloured and stays what it was", async () => {
    await richReady();
    const box = parsed("```python\nif x < 1: print('<b>')\n```");
    expect(box.querySelector("pre .hljs-keyword")?.textContent).toBe("if");
    expect(box.querySelector("pre code")?.textContent).toBe("if x < 1: print('<b>')\n");
  });

  test("mathematics is MathML without a style, and money is money", async () => {
    await richReady();
    for (const text of ["$x^2$", "\\(x^2\\)", "$$\nx^2\n$$", "\\[x^2\\]", "a $$x^2$$ b"]) {
      const math = parsed(text).querySelector("math");
      expect(math?.querySelector("msup")?.textContent, text).toBe("x2");
      expect(math?.parentElement?.textContent).toBe("x2");
    }
    expect(parsed("it costs $5 and $6").querySelector("math")).toBeNull();
  });

  test.each([
    "$\\href{javascript:alert(1)}{x}$",
    "$\\htmlStyle{background:url(//x.org)}{x}$",
    "$\\includegraphics{https://example.org/x.png}$",
    "$\\def\\a{\\a\\a}\\a$",
    "$\\rule{99999em}{99999em}$",
    "$\\text{</math><img src=x onerror=alert(1)>}$",
  ])("hostile mathematics does nothing: %s", async (text) => {
    await richReady();
    const box = parsed(text);
    expect(box.querySelector("a,img,script,[style],svg")).toBeNull();
    for (const width of box.querySelectorAll("[width]")) expect(parseFloat(width.getAttribute("width") ?? "0")).toBeLessThan(40);
  });
});

import DOMPurify from "dompurify";
import MarkdownIt, { type Env } from "markdown-it";
import { visible } from "./format";
import { mathSyntax } from "./math-syntax";
import { highlighter, typesetter } from "./rich";

/** Markdown as models write it. No raw HTML, no pictures: a picture would be fetched from wherever a text says. */
const markdown = new MarkdownIt({ html: false, linkify: true, breaks: true });
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
markdown.use(mathSyntax);

const LONGEST_HIGHLIGHTED = 50_000;
const MATH_TAGS = [
  "math", "mi", "mn", "mo", "ms", "mtext", "mspace", "mrow", "mfrac", "msqrt", "mroot", "mstyle", "mpadded", "mphantom",
  "menclose", "msub", "msup", "msubsup", "munder", "mover", "munderover", "mtable", "mtr", "mtd",
]; // prettier-ignore
const MATH_ATTRIBUTES = [
  "mathvariant", "stretchy", "fence", "separator", "lspace", "rspace", "minsize", "maxsize", "accent", "accentunder",
  "columnalign", "rowspacing", "columnspacing", "linethickness", "displaystyle", "scriptlevel", "width", "height",
  "depth", "voffset", "movablelimits", "symmetric", "form", "display", "mathcolor", "columnlines", "rowlines", "notation",
]; // prettier-ignore
const ALLOWED_TAGS = [
  "p", "br", "strong", "em", "s", "code", "pre", "ul", "ol", "li", "blockquote", "a", "hr", "span", "div", "button",
  "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", ...MATH_TAGS,
]; // prettier-ignore
const PLAIN_ATTRIBUTES = ["target", "rel", "title", "start", "class", "type", "tabindex", "role", "aria-label", ...MATH_ATTRIBUTES];
const SAFE_LINK = /^https?:\/\//i;

/** What the words on the page are, since this file knows no language. */
export interface MarkdownWords {
  copy: string;
  picture: string;
  table: string;
}

type References = NonNullable<Env["references"]>;

const wordsOf = (env: Env | undefined) => (env?.["words"] as MarkdownWords | undefined) ?? ENGLISH;
const ENGLISH: MarkdownWords = { copy: "Copy", picture: "Picture", table: "Table" };
const escape = (text: string) => markdown.utils.escapeHtml(text);
const rules = markdown.renderer.rules;

markdown.validateLink = (url) => SAFE_LINK.test(url.trim());

rules.link_open = (tokens, index, options, _env, self) => {
  const token = tokens[index];
  token?.attrSet("target", "_blank");
  token?.attrSet("rel", "noopener noreferrer nofollow");
  // The text of a link may claim anything; where it leads can be read before it is followed.
  token?.attrSet("title", String(token.attrGet("href")));
  return self.renderToken(tokens, index, options);
};

/** A picture becomes a link to it, which is followed only with the person's consent, as every link. */
rules.image = (tokens, index, _options, env) => {
  const address = String(tokens[index]?.attrGet("src") ?? "");
  const words = `${wordsOf(env).picture}: ${tokens[index]?.content || address}`;
  return `<a class="picture" target="_blank" rel="noopener noreferrer nofollow" href="${escape(address)}" title="${escape(address)}">${escape(words)}</a>`;
};

rules.fence = (tokens, index, _options, env) => {
  const token = tokens[index];
  return codeBlock(token?.content ?? "", token?.info.trim().split(/\s+/)[0] ?? "", env);
};
rules.code_block = (tokens, index, _options, env) => codeBlock(tokens[index]?.content ?? "", "", env);

function codeBlock(text: string, language: string, env: Env | undefined): string {
  const name = /^[A-Za-z0-9+#._-]{1,24}$/.test(language) ? language : "";
  const bar = `<div class="code-bar"><span>${escape(name)}</span><button type="button" class="copy-code">${escape(wordsOf(env).copy)}</button></div>`;
  return `<div class="code">${bar}<pre tabindex="0"><code>${highlighted(text, name.toLowerCase())}</code></pre></div>\n`;
}

function highlighted(text: string, language: string): string {
  if (!language || text.length > LONGEST_HIGHLIGHTED) return escape(text);
  const found = highlighter();
  if (!found?.getLanguage(language)) return escape(text);
  return found.highlight(text, { language, ignoreIllegals: true }).value;
}

rules.math_inline = (tokens, index) => typeset(tokens[index]?.content ?? "", false);
rules.math_display = (tokens, index) => `<div class="math-block" tabindex="0">${typeset(tokens[index]?.content ?? "", true)}</div>`;

/** MathML alone: it needs no style, and none is allowed. What is no mathematics stays as it was written. */
function typeset(tex: string, displayMode: boolean): string {
  const plain = `<code class="math">${escape(tex)}</code>`;
  const found = typesetter();
  if (!found) return plain;
  try {
    const html = found.renderToString(tex, {
      displayMode, output: "mathml", trust: false, strict: "ignore", throwOnError: true, maxExpand: 200, maxSize: 20,
    }); // prettier-ignore
    return html.replace(/<annotation[\s\S]*?<\/annotation>/g, "").replace(/<\/?semantics>/g, "");
  } catch {
    return plain;
  }
}

rules.table_open = (_tokens, _index, _options, env) =>
  `<div class="table" role="region" aria-label="${escape(wordsOf(env).table)}" tabindex="0"><table>\n`;
rules.table_close = () => "</table></div>\n";

/** Column alignment would need a style; a class does the same. */
for (const cell of ["th_open", "td_open"] as const) {
  rules[cell] = (tokens, index, options, _env, self) => {
    const token = tokens[index];
    const align = /text-align:(left|center|right)/.exec(String(token?.attrGet("style") ?? ""))?.[1];
    if (token) token.attrs = align ? [["class", `align-${align}`]] : null;
    return self.renderToken(tokens, index, options);
  };
}

/** Sanitised HTML of `text`: what markdown-it makes of it, checked again against an allow-list. */
export function renderMarkdown(text: string, words = ENGLISH, references?: References): string {
  const env: Env = { words, ...(references ? { references } : {}) };
  return DOMPurify.sanitize(markdown.render(visible(text), env), {
    ALLOWED_TAGS,
    ALLOWED_ATTR: ["href", ...PLAIN_ATTRIBUTES],
    ALLOWED_URI_REGEXP: SAFE_LINK,
    ADD_URI_SAFE_ATTR: PLAIN_ATTRIBUTES, // without this, the pattern for addresses would be asked of these too
    RETURN_TRUSTED_TYPE: true,
  }) as unknown as string;
}

export interface Blocks {
  sources: string[];
  references: References | undefined;
}

/** The source of each block at the top level: a long text is drawn block by block, and only what changed again. */
export function blocksOf(text: string): Blocks {
  const source = text.replace(/\r\n?/g, "\n");
  const env: Env = {};
  const tokens: Parameters<typeof markdown.block.parse>[3] = [];
  markdown.block.parse(source, markdown, env, tokens);
  const starts = tokens.filter((token) => token.level === 0 && token.nesting >= 0 && token.map).map((token) => token.map?.[0] ?? 0);
  const lines = source.split("\n");
  const sources = starts.map((from, index) => lines.slice(index === 0 ? 0 : from, starts[index + 1] ?? lines.length).join("\n"));
  return { sources, references: env.references && Object.keys(env.references).length ? env.references : undefined };
}

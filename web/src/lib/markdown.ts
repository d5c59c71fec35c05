import DOMPurify from "dompurify";
import MarkdownIt from "markdown-it";
import { visible } from "./format";

/** Markdown as models write it. No raw HTML, no pictures: a picture would be fetched from wherever a text says. */
const markdown = new MarkdownIt({ html: false, linkify: false, breaks: true });
markdown.disable("image");

const ALLOWED_TAGS = [
  "p", "br", "strong", "em", "s", "code", "pre", "ul", "ol", "li", "blockquote", "a", "hr",
  "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td",
]; // prettier-ignore
const PLAIN_ATTRIBUTES = ["target", "rel", "title", "start", "class"];
const SAFE_LINK = /^https?:\/\//i;

const defaultLink = markdown.renderer.rules.link_open;
markdown.renderer.rules.link_open = (tokens, index, options, env, self) => {
  tokens[index]?.attrSet("target", "_blank");
  tokens[index]?.attrSet("rel", "noopener noreferrer nofollow");
  // The text of a link may claim anything; where it leads can be read before it is followed.
  tokens[index]?.attrSet("title", String(tokens[index]?.attrGet("href")));
  return defaultLink?.(tokens, index, options, env, self) ?? self.renderToken(tokens, index, options);
};
markdown.validateLink = (url) => SAFE_LINK.test(url.trim());

/** Sanitised HTML of `text`: what markdown-it makes of it, checked again against an allow-list. */
export function renderMarkdown(text: string): string {
  return DOMPurify.sanitize(markdown.render(visible(text)), {
    ALLOWED_TAGS,
    ALLOWED_ATTR: ["href", ...PLAIN_ATTRIBUTES],
    ALLOWED_URI_REGEXP: SAFE_LINK,
    ADD_URI_SAFE_ATTR: PLAIN_ATTRIBUTES, // without this, the pattern for addresses would be asked of these too
    RETURN_TRUSTED_TYPE: true,
  }) as unknown as string;
}

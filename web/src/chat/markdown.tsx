import { memo, useMemo, useRef, useSyncExternalStore } from "react";
import { useTranslation } from "react-i18next";
import { type Blocks, blocksOf, type MarkdownWords, renderMarkdown } from "../lib/markdown";
import { richVersion, subscribeRich } from "../lib/rich";
import { closed } from "../lib/unfinished";

/** Text of a model. Drawn block by block; while it is being written only its last block is drawn again. */
export const Markdown = memo(function Markdown({ text, open = false }: { text: string; open?: boolean }) {
  const { t, i18n } = useTranslation();
  const words = useMemo(
    () => ({ copy: t("chat.copyCode"), picture: t("chat.picture"), table: t("chat.table") }),
    [t, i18n.language], // `t` keeps its identity when only the texts change
  );
  const { sources, references } = useBlocks(text, open);
  return (
    <div className="markdown" dir="auto">
      {sources.map((source, index) => (
        <Block
          key={index}
          source={open && index === sources.length - 1 ? closed(source) : source}
          words={words}
          references={references}
        />
      ))}
    </div>
  );
});

interface Kept extends Blocks {
  text: string;
}

/** Blocks of a growing text: what stands before the last two cannot change any more, and is not parsed again. */
function useBlocks(text: string, open: boolean): Blocks {
  const kept = useRef<Kept>({ text: "", sources: [], references: undefined });
  return useMemo(() => {
    const before = kept.current;
    const settled = open && text.startsWith(before.text) ? before.sources.slice(0, -2) : [];
    const skipped = settled.reduce((length, source) => length + source.length + 1, 0);
    const fresh = blocksOf(skipped ? text.slice(skipped) : text);
    const made = { text, sources: [...settled, ...fresh.sources], references: fresh.references ?? (settled.length ? before.references : undefined) };
    // Offsets only hold where the text has no CR; one that has is parsed whole each time.
    kept.current = text.includes("\r") ? { text: "\0", sources: [], references: undefined } : made;
    return made;
  }, [text, open]);
}

interface BlockProps {
  source: string;
  words: MarkdownWords;
  references: Blocks["references"];
}

const Block = memo(function Block({ source, words, references }: BlockProps) {
  const version = useSyncExternalStore(subscribeRich, richVersion);
  const html = useMemo(() => renderMarkdown(source, words, references), [source, words, references, version]);
  return <div className="block" dangerouslySetInnerHTML={{ __html: html }} />;
});

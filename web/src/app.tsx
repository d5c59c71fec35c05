import { useEffect, useState } from "react";
import { BuildPage } from "./studio/page";
import { ChatPage } from "./chat/page";
import { Header } from "./header";
import { useModels } from "./models";

type Page = "chat" | "build";

const pageOf = (hash: string): Page | null => (hash === "#/build" ? "build" : hash === "#/chat" ? "chat" : null);

/** Two pages by hash. Without one, the page that has something to show: the build until there is a model. */
export function App() {
  const [hash, setHash] = useState(location.hash);
  const { models, problem, refresh } = useModels();
  useEffect(() => {
    const follow = () => setHash(location.hash);
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);

  // Decided once: whoever watches a build must not be moved to the chat the moment a model appears.
  const [start, setStart] = useState<Page | null>(null);
  useEffect(() => {
    if (models !== null) setStart((decided) => decided ?? (models.length ? "chat" : "build"));
  }, [models]);

  const page = pageOf(hash) ?? start;
  useEffect(() => {
    document.title = page === "build" ? "Build · Chatwright" : "Chatwright";
  }, [page]);

  return (
    <>
      <a className="skip" href="#main" onClick={(event) => skipTo(event)}>
        Skip to content
      </a>
      <Header page={page} />
      {page === "build" && <BuildPage served={(models ?? []).length > 0} />}
      {page === "chat" && <ChatPage models={models ?? []} problem={problem} refresh={refresh} />}
      {page === null && <main id="main">{problem && <p className="alone">{problem}</p>}</main>}
    </>
  );
}

/** The hash is the page, so the skip link moves focus itself. */
function skipTo(event: React.MouseEvent): void {
  event.preventDefault();
  const main = document.getElementById("main");
  main?.setAttribute("tabindex", "-1");
  main?.focus();
}

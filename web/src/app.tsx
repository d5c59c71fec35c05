import { lazy, Suspense, useCallback, useEffect, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { ChatPage } from "./chat/page";
import { type Common, CommonContext } from "./context";
import { Header } from "./header";
import { speak, spokenOf } from "./i18n";
import { failureText, fetchMe, onSignedOut, patch } from "./lib/api";
import { type Route, routeOf } from "./lib/route";
import { DEFAULTS, keepLocally, localSettings } from "./lib/settings";
import type { Me, Settings } from "./lib/types";
import { useModels } from "./models";
import { inText, ShortcutSheet } from "./ui/shortcuts";
import { Toasts } from "./ui/toast";

const BuildPage = lazy(async () => ({ default: (await import("./studio/page")).BuildPage }));
const SharedPage = lazy(async () => ({ default: (await import("./chat/shared")).SharedPage }));
const SettingsPage = lazy(async () => ({ default: (await import("./account/page")).SettingsPage }));
const OperatorPage = lazy(async () => ({ default: (await import("./operator/page")).OperatorPage }));
const EntryPage = lazy(async () => ({ default: (await import("./account/entry")).EntryPage }));

const OPEN_PAGES = new Set<Route["page"]>(["shared", "setup", "invitation", "sign-in"]);

export function App() {
  const route = useRoute();
  const [me, setMe] = useState<Me | null | undefined>(undefined);
  const [problem, setProblem] = useState("");
  const [local, setLocal] = useState(() => localSettings(localStorage));
  const [help, setHelp] = useState(false);
  const { t } = useTranslation();

  const reloadMe = useCallback(() => {
    fetchMe().then(
      (found) => {
        setMe(found);
        setProblem("");
      },
      (error: unknown) => setProblem(failureText(error)),
    );
  }, []);
  useEffect(reloadMe, [reloadMe]);
  useEffect(() => {
    const off = onSignedOut(reloadMe);
    return () => void off();
  }, [reloadMe]);

  const settings = useMemo<Settings>(() => (me?.person ? { ...DEFAULTS, ...me.settings } : local), [me, local]);
  useAppearance(settings);
  const saveSettings = useCallback(
    async (values: Partial<Settings>) => {
      if (me?.person) {
        const { training: _, ...kept } = values;
        await patch("/api/me", { settings: kept });
        setMe({ ...me, settings: { ...me.settings, ...kept } });
      }
      setLocal((old) => ({ ...old, ...values }));
    },
    [me],
  );

  // Without a person there is nothing to show but the ways in; a server without accounts has its one person.
  const inside = me === null || (me !== undefined && me.signed_in);
  const { models, problem: modelProblem, refresh: reloadModels } = useModels(inside);

  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.key !== "?" || inText(event.target) || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      setHelp(true);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);

  // Decided once: whoever watches a build must not be moved to the chat the moment a model appears.
  const [start, setStart] = useState<"chat" | "build" | null>(null);
  useEffect(() => {
    if (models !== null) setStart((decided) => decided ?? (models.length ? "chat" : "build"));
  }, [models]);

  const open = OPEN_PAGES.has(route.page);
  const page = inside || open ? route.page || start || "" : "sign-in";
  useEffect(() => {
    document.title = page === "chat" || page === "" ? "Chatwright" : `${t(`pages.${page}`)} · Chatwright`;
  }, [page, t]);

  const common: Common = {
    me: me ?? null, setMe, reloadMe, models: models ?? [], modelProblem, reloadModels, settings, saveSettings,
  }; // prettier-ignore
  const waiting = (
    <main id="main">
      <p className="alone" role={problem ? "alert" : undefined}>
        {problem}
        {problem && (
          <button type="button" className="plain" onClick={reloadMe}>
            {t("ui.again")}
          </button>
        )}
      </p>
    </main>
  );
  return (
    <CommonContext.Provider value={common}>
      <Toasts>
        <a className="skip" href="#main" onClick={skipTo}>
          {t("ui.skip")}
        </a>
        <Header page={page} bare={!inside || page === "shared"} onHelp={() => setHelp(true)} />
        <Suspense key={page} fallback={<main id="main" />}>
          {(me === undefined && !open) || page === "" ? waiting : <Shown page={page} route={route} served={(models ?? []).length > 0} />}
        </Suspense>
        {help && <ShortcutSheet onClose={() => setHelp(false)} />}
      </Toasts>
    </CommonContext.Provider>
  );
}

function Shown({ page, route, served }: { page: Route["page"]; route: Route; served: boolean }) {
  const { parts } = route;
  switch (page) {
    case "build":
      return <BuildPage served={served} />;
    case "settings":
      return <SettingsPage section={parts[0] ?? ""} />;
    case "operator":
      return <OperatorPage section={parts[0] ?? ""} />;
    case "shared":
      return <SharedPage token={parts[0] ?? ""} />;
    case "setup":
    case "invitation":
    case "sign-in":
      return <EntryPage key={page} way={page} token={parts[0] ?? ""} problem={route.query.get("problem") ?? ""} />;
    default:
      return <ChatPage id={parts[0] ?? null} wanted={parts[1]} />;
  }
}

function useRoute(): Route {
  const [route, setRoute] = useState(() => routeOf(location.hash));
  useEffect(() => {
    const follow = () => setRoute(routeOf(location.hash));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return route;
}

function useAppearance(settings: Settings): void {
  const { language, theme } = settings;
  useEffect(() => {
    void speak(spokenOf(language, navigator.languages));
    if (theme === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
    keepLocally(localStorage, settings);
  }, [language, theme]); // the rest of the settings does not change how pages look
}

/** The hash is the page, so the skip link moves focus itself. */
function skipTo(event: React.MouseEvent): void {
  event.preventDefault();
  const main = document.getElementById("main");
  main?.setAttribute("tabindex", "-1");
  main?.focus();
}

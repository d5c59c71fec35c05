import { useTranslation } from "react-i18next";
import { useCommon } from "./context";
import { failureText, post } from "./lib/api";
import { Menu, type MenuItem } from "./ui/menu";
import { useToast } from "./ui/toast";

interface Props {
  page: string;
  /** Only the name: for whoever is not signed in. */
  bare: boolean;
  onHelp: () => void;
}

export function Header({ page, bare, onHelp }: Props) {
  const { t } = useTranslation();
  const { me, reloadMe } = useCommon();
  const say = useToast();
  const operates = me?.person?.role === "operator" || me?.person?.role === "admin";
  const signOut = async () => {
    try {
      await post("/api/sign-out");
      location.hash = "#/sign-in";
      reloadMe();
    } catch (error) {
      say({ text: failureText(error) });
    }
  };
  const items: MenuItem[] = [
    { label: t("pages.settings"), icon: "sliders", href: "#/settings" },
    { label: t("shortcuts.title"), icon: "help", onSelect: onHelp },
    ...(me?.mode === "people" ? [{ label: t("account.signOut"), icon: "left" as const, onSelect: () => void signOut() }] : []),
  ];
  const link = (name: string) => (
    <a href={`#/${name}`} aria-current={page === name ? "page" : undefined}>
      {t(`pages.${name}`)}
    </a>
  );
  return (
    <header className="top">
      <a className="brand" href="#/" aria-label={t("ui.home")}>
        <Mark />
        <span>Chatwright</span>
      </a>
      {!bare && (
        <>
          <nav aria-label={t("ui.pages")}>
            {link("chat")}
            {link("build")}
            {operates && link("operator")}
          </nav>
          <Menu label={me?.person?.name || t("ui.menu")} icon="person" items={items} />
        </>
      )}
    </header>
  );
}

function Mark() {
  return (
    <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
      <path
        className="mark-bubble"
        d="M7 4h18a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4H15l-7 5v-5H7a4 4 0 0 1-4-4V8a4 4 0 0 1 4-4z"
      />
      <path className="mark-w" d="M8.5 10.5 12 18l4-6 4 6 3.5-7.5" />
    </svg>
  );
}

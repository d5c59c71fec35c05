import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { useCommon } from "../context";
import { AccountSection } from "./account";
import { ArchivedSection, SharesSection } from "./chats";
import { DataSection } from "./data";
import { GeneralSection } from "./general";
import { KeysSection } from "./keys";
import { MemoriesSection } from "./memories";

interface Section {
  name: string;
  show: () => ReactNode;
  /** Only where people have accounts. */
  people?: boolean;
}

const SECTIONS: Section[] = [
  { name: "general", show: () => <GeneralSection /> },
  { name: "data", show: () => <DataSection /> },
  { name: "memories", show: () => <MemoriesSection /> },
  { name: "shares", show: () => <SharesSection /> },
  { name: "archived", show: () => <ArchivedSection /> },
  { name: "account", show: () => <AccountSection />, people: true },
  { name: "keys", show: () => <KeysSection />, people: true },
];

export function SettingsPage({ section }: { section: string }) {
  const { t } = useTranslation();
  const { me } = useCommon();
  const offered = SECTIONS.filter((one) => !one.people || me?.mode === "people");
  const current = offered.find((one) => one.name === section) ?? offered[0];
  return (
    <Rooms title={t("pages.settings")} base="settings" names={offered.map((one) => one.name)} current={current?.name ?? ""} texts="settings.sections">
      {current?.show()}
    </Rooms>
  );
}

interface RoomsProps {
  title: string;
  base: string;
  names: string[];
  current: string;
  /** Where the names of the sections stand among the texts. */
  texts: string;
  children: ReactNode;
}

/** A page of several sections with a list of them beside. */
export function Rooms({ title, base, names, current, texts, children }: RoomsProps) {
  const { t } = useTranslation();
  return (
    <main id="main" className="rooms">
      <h1>{title}</h1>
      <div className="rooms-grid">
        <nav className="rooms-nav" aria-label={title}>
          <ul>
            {names.map((name) => (
              <li key={name}>
                <a href={`#/${base}/${name}`} aria-current={name === current ? "page" : undefined}>
                  {t(`${texts}.${name}`)}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <section key={current} className="room" aria-labelledby="room-title">
          <h2 id="room-title">{t(`${texts}.${current}`)}</h2>
          {children}
        </section>
      </div>
    </main>
  );
}

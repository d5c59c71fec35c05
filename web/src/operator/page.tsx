import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { Rooms } from "../account/page";
import { useCommon } from "../context";
import { AuditSection } from "./audit";
import { FeedbackSection } from "./feedback";
import { FlagsSection } from "./flags";
import { GroupsSection } from "./groups";
import { OperatorKeys } from "./keys";
import { PeopleSection } from "./people";
import { ChoicesSection } from "./choices";
import { TrafficSection } from "./traffic";

interface Section {
  name: string;
  show: () => ReactNode;
  /** Only where people have accounts. */
  people?: boolean;
}

const SECTIONS: Section[] = [
  { name: "people", show: () => <PeopleSection />, people: true },
  { name: "groups", show: () => <GroupsSection />, people: true },
  { name: "keys", show: () => <OperatorKeys />, people: true },
  { name: "flags", show: () => <FlagsSection /> },
  { name: "feedback", show: () => <FeedbackSection /> },
  { name: "traffic", show: () => <TrafficSection /> },
  { name: "settings", show: () => <ChoicesSection /> },
  { name: "audit", show: () => <AuditSection /> },
];

/** For whoever runs this place. What is done here stands in the audit log. */
export function OperatorPage({ section }: { section: string }) {
  const { t } = useTranslation();
  const { me } = useCommon();
  const may = me?.person?.role === "operator" || me?.person?.role === "admin";
  if (!may) {
    return (
      <main id="main">
        <div className="alone">
          <h1>{t("pages.operator")}</h1>
          <p>{t("operator.forbidden")}</p>
        </div>
      </main>
    );
  }
  const offered = SECTIONS.filter((one) => !one.people || me.mode === "people");
  const current = offered.find((one) => one.name === section) ?? offered[0];
  return (
    <Rooms title={t("pages.operator")} base="operator" names={offered.map((one) => one.name)} current={current?.name ?? ""} texts="operator.sections">
      {current?.show()}
    </Rooms>
  );
}

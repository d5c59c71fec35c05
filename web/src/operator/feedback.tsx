import { useState } from "react";
import { useTranslation } from "react-i18next";
import { TAGS } from "../chat/rating";
import { useCommon } from "../context";
import { dateTime, visible } from "../lib/format";
import { modelTitle } from "../lib/names";
import { Said, type Spoken } from "./said";
import { Listed, usePaged } from "./paged";

interface Feedback {
  id: string | number;
  at?: string;
  created?: string;
  kind?: string;
  value?: number | null;
  choice?: string | null;
  tags: string[];
  text: string;
  version?: string;
  model?: string;
  consent?: boolean | null;
  /** Absent where the person did not let it be read. */
  messages?: Spoken[] | null;
  prompt?: string | null;
  response?: string | null;
}

const EVERY_TAG = [...new Set([...TAGS[-1], ...TAGS[1]])];

export function FeedbackSection() {
  const { t } = useTranslation();
  const { models } = useCommon();
  const [filters, setFilters] = useState({ version: "", value: "", tag: "", consent: "" });
  const query = new URLSearchParams(Object.entries(filters).filter(([, value]) => value));
  const list = usePaged<Feedback>(`/api/operator/feedback?${query}`);
  const set = (name: keyof typeof filters, value: string) => setFilters({ ...filters, [name]: value });
  return (
    <>
      <div className="filters">
        <Filter label={t("models.version")} value={filters.version} onChange={(value) => set("version", value)} options={models.map((model) => [model.id, modelTitle(model.name)])} />
        <Filter label={t("operator.value")} value={filters.value} onChange={(value) => set("value", value)} options={[["1", t("rating.good")], ["-1", t("rating.bad")]]} />
        <Filter
          label={t("rating.reasons")}
          value={filters.tag}
          onChange={(value) => set("tag", value)}
          options={EVERY_TAG.map((tag) => [tag, tagText(t, tag)])}
        />
        <Filter label={t("operator.consent")} value={filters.consent} onChange={(value) => set("consent", value)} options={[["true", t("ui.yes")], ["false", t("ui.no")]]} />
      </div>
      <Listed list={list}>
        {(list.rows ?? []).map((row) => (
          <FeedbackCard key={row.id} row={row} />
        ))}
      </Listed>
    </>
  );
}

const tagText = (t: (key: string, options: { defaultValue: string }) => string, tag: string) =>
  t(`rating.blame.${tag}`, { defaultValue: t(`rating.praise.${tag}`, { defaultValue: tag }) });

interface FilterProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  options: string[][];
}

function Filter({ label, value, onChange, options }: FilterProps) {
  const { t } = useTranslation();
  return (
    <label className="field">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        <option value="">{t("operator.any")}</option>
        {options.map(([key, name]) => (
          <option key={key} value={key}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

function FeedbackCard({ row }: { row: Feedback }) {
  const { t } = useTranslation();
  const said: Spoken[] = row.messages ?? [
    ...(row.prompt ? [{ role: "user", content: row.prompt }] : []),
    ...(row.response ? [{ content: row.response, model: row.model ?? "" }] : []),
  ];
  const verdict = row.choice ? t(`compare.choices.${row.choice}`, { defaultValue: row.choice }) : row.value ? t(row.value > 0 ? "rating.good" : "rating.bad") : (row.kind ?? "");
  return (
    <article className="panel">
      <h3>
        {verdict}
        <span className="quiet small"> · {dateTime(row.at ?? row.created ?? "")}</span>
      </h3>
      <p className="quiet small">
        <bdi>{row.version}</bdi>
        {row.consent !== undefined && <span className={row.consent ? "badge" : "badge warm"}>{t(row.consent ? "operator.mayLearn" : "operator.mayNotLearn")}</span>}
        {row.tags.map((tag) => (
          <span className="badge" key={tag}>
            {tagText(t, tag)}
          </span>
        ))}
      </p>
      {row.text && <p dir="auto" className="quoted">{visible(row.text)}</p>}
      {said.length > 0 && <Said messages={said} />}
    </article>
  );
}

import type { TFunction } from "i18next";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { TAGS } from "../chat/rating";
import { useCommon } from "../context";
import { get } from "../lib/api";
import { dateTime, visible } from "../lib/format";
import { modelTitle } from "../lib/names";
import { useAction } from "../ui/use";
import { Said, type Spoken } from "./said";
import { Listed, usePaged } from "./paged";

type Kind = keyof typeof VALUES;

const VALUES = {
  rating: ["1", "-1"],
  comparison: ["left", "right", "tie", "both_bad"],
  signal: ["regenerated", "edited", "copied", "stopped", "continued", "abandoned"],
} as const;
const KINDS = Object.keys(VALUES) as Kind[];

interface Feedback {
  id: string;
  at: string;
  kind: Kind;
  value: number | string;
  tags?: string[];
  text?: string;
  count?: number;
  other_version?: string;
  version?: string;
  model?: string;
  consent?: boolean | null;
  /** Only where one is asked for, and only what may be learned from. */
  messages?: Spoken[];
}

const EVERY_TAG = [...new Set([...TAGS[-1], ...TAGS[1]])];

export function FeedbackSection() {
  const { t } = useTranslation();
  const { models } = useCommon();
  const [kind, setKind] = useState<Kind>("rating");
  const [filters, setFilters] = useState({ version: "", value: "", tag: "", consent: "" });
  const query = new URLSearchParams(Object.entries({ ...filters, kind }).filter(([, value]) => value));
  const list = usePaged<Feedback>(`/api/operator/feedback?${query}`);
  const set = (name: keyof typeof filters, value: string) => setFilters({ ...filters, [name]: value });
  return (
    <>
      <div className="filters">
        <label className="field">
          <span>{t("operator.kind")}</span>
          <select
            value={kind}
            onChange={(event) => {
              setKind(event.target.value as Kind);
              setFilters({ ...filters, value: "", tag: "" });
            }}
          >
            {KINDS.map((one) => (
              <option key={one} value={one}>
                {t(`operator.kinds.${one}`)}
              </option>
            ))}
          </select>
        </label>
        <Filter label={t("models.version")} value={filters.version} onChange={(value) => set("version", value)} options={models.map((model) => [model.id, modelTitle(model.name)])} />
        <Filter label={t("operator.value")} value={filters.value} onChange={(value) => set("value", value)} options={VALUES[kind].map((value) => [value, valueText(t, kind, value)])} />
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

function valueText(t: TFunction, kind: Kind, value: string): string {
  if (kind === "rating") return t(value === "1" ? "rating.good" : "rating.bad");
  return t(kind === "comparison" ? `compare.choices.${value}` : `operator.signals.${value}`);
}

const tagText = (t: TFunction, tag: string) =>
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
  const [said, setSaid] = useState<Spoken[] | null>(null);
  const { busy, problem, run } = useAction();
  const read = () => run(async () => setSaid((await get<Feedback>(`/api/operator/feedback/${row.kind}/${row.id}`)).messages ?? []));
  return (
    <article className="panel">
      <h3>
        {valueText(t, row.kind, String(row.value))}
        {row.count !== undefined && row.count > 1 && <span className="quiet small"> × {row.count}</span>}
        <span className="quiet small"> · {dateTime(row.at)}</span>
      </h3>
      <p className="quiet small">
        <bdi>{[row.version, row.other_version].filter(Boolean).join(" · ")}</bdi>
        {row.consent !== undefined && <span className={row.consent ? "badge" : "badge warm"}>{t(row.consent ? "operator.mayLearn" : "operator.mayNotLearn")}</span>}
        {(row.tags ?? []).map((tag) => (
          <span className="badge" key={tag}>
            {tagText(t, tag)}
          </span>
        ))}
      </p>
      {row.text && <p dir="auto" className="quoted">{visible(row.text)}</p>}
      {problem && <p className="problem" role="alert">{problem}</p>}
      {row.consent && said === null && row.kind !== "signal" && (
        <button type="button" className="plain" disabled={busy} onClick={() => void read()}>
          {t("operator.readAll")}
        </button>
      )}
      {said && (said.length ? <Said messages={said} /> : <p className="quiet">{t("operator.notShown")}</p>)}
    </article>
  );
}

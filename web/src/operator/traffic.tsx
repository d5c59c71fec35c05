import { useEffect } from "react";
import { useTranslation } from "react-i18next";
import { get } from "../lib/api";
import { count } from "../lib/format";
import { useLoaded } from "../ui/use";

type Value = string | number | boolean | null | Value[] | { [name: string]: Value };

const EVERY_MS = 3_000;

/** What goes on now, read again every few seconds while somebody looks. */
export function TrafficSection() {
  const { t } = useTranslation();
  const { data, problem, reload } = useLoaded(() => get<{ [name: string]: Value }>("/api/operator/traffic"), []);
  useEffect(() => {
    const timer = setInterval(() => document.visibilityState === "visible" && reload(), EVERY_MS);
    return () => clearInterval(timer);
  }, [reload]);
  return (
    <>
      <p className="quiet">{t("operator.trafficAbout")}</p>
      {problem && <p className="problem" role="alert">{problem}</p>}
      {data && <Figures values={data} />}
    </>
  );
}

const isRow = (value: Value): value is { [name: string]: Value } => typeof value === "object" && value !== null && !Array.isArray(value);
const words = (name: string) => name.replaceAll("_", " ");
const plain = (value: Value) => (typeof value === "number" ? (Number.isInteger(value) ? count(value) : value.toPrecision(3)) : String(value ?? "–"));

/** Figures as they come: numbers as a list, rows of figures as a table. */
function Figures({ values }: { values: { [name: string]: Value } }) {
  const { t } = useTranslation();
  const entries = Object.entries(values);
  const label = (name: string) => t(`operator.traffic.${name}`, { defaultValue: words(name) });
  const flat = entries.filter(([, value]) => !isRow(value) && !Array.isArray(value));
  return (
    <>
      {flat.length > 0 && (
        <dl className="facts panel">
          {flat.map(([name, value]) => (
            <div key={name}>
              <dt>{label(name)}</dt>
              <dd><bdi>{plain(value)}</bdi></dd>
            </div>
          ))}
        </dl>
      )}
      {entries.map(([name, value]) => {
        if (Array.isArray(value)) return <Table key={name} title={label(name)} rows={value.filter(isRow)} label={label} />;
        if (!isRow(value)) return null;
        const inner = Object.entries(value);
        const rows = inner.length > 0 && inner.every(([, one]) => isRow(one));
        if (rows) return <Table key={name} title={label(name)} rows={inner.map(([key, one]) => ({ name: key, ...(one as object) }))} label={label} />;
        return (
          <section key={name}>
            <h3>{label(name)}</h3>
            <Figures values={value} />
          </section>
        );
      })}
    </>
  );
}

interface TableProps {
  title: string;
  rows: { [name: string]: Value }[];
  label: (name: string) => string;
}

function Table({ title, rows, label }: TableProps) {
  const { t } = useTranslation();
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return (
    <section className="panel">
      <h3>{title}</h3>
      {!rows.length && <p className="quiet">{t("ui.none")}</p>}
      {rows.length > 0 && (
        <div className="table-frame" role="region" aria-label={title} tabIndex={0}>
          <table className="figures-table">
            <thead>
              <tr>
                {columns.map((name) => (
                  <th key={name} scope="col">{label(name)}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((row, index) => (
                <tr key={index}>
                  {columns.map((name) => (
                    <td key={name}><bdi>{isRow(row[name] ?? null) ? JSON.stringify(row[name]) : plain(row[name] ?? null)}</bdi></td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

import { useTranslation } from "react-i18next";
import { dateTime, visible } from "../lib/format";
import { Listed, usePaged } from "./paged";

interface Entry {
  id: number;
  at: string;
  who: string;
  name: string;
  what: string;
  subject: string;
  detail: unknown;
}

/** Every change and every look that was made here; nothing leaves it. */
export function AuditSection() {
  const { t } = useTranslation();
  const log = usePaged<Entry>("/api/operator/audit");
  return (
    <Listed list={log}>
      {log.rows && log.rows.length > 0 && (
        <div className="table-frame" role="region" aria-label={t("chat.table")} tabIndex={0}>
          <table className="figures-table">
            <thead>
              <tr>
                {["when", "who", "what", "subject", "detail"].map((name) => (
                  <th key={name} scope="col">{t(`operator.auditColumns.${name}`)}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {log.rows.map((entry) => (
                <tr key={entry.id}>
                  <td>{dateTime(entry.at)}</td>
                  <td><bdi>{visible(entry.name || entry.who)}</bdi></td>
                  <td><bdi>{entry.what}</bdi></td>
                  <td><bdi>{visible(entry.subject)}</bdi></td>
                  <td><bdi>{detailText(entry.detail)}</bdi></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Listed>
  );
}

const detailText = (detail: unknown) =>
  detail && typeof detail === "object" && Object.keys(detail).length ? visible(JSON.stringify(detail)) : "";

import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type ApiKey, KeyFacts } from "../account/keys";
import { remove } from "../lib/api";
import { Confirm } from "../ui/dialog";
import { useAction } from "../ui/use";
import { Listed, usePaged } from "./paged";

interface Owned extends ApiKey {
  person_name?: string;
}

export function OperatorKeys() {
  const { t } = useTranslation();
  const keys = usePaged<Owned>("/api/operator/keys");
  const [leaving, setLeaving] = useState<Owned | null>(null);
  const { problem, run } = useAction();
  return (
    <>
      {problem && <p className="problem" role="alert">{problem}</p>}
      <Listed list={keys}>
        <ul className="rows">
          {(keys.rows ?? []).map((key) => (
            <li key={key.id}>
              <span>
                <KeyFacts row={key} />
                {key.person_name && <bdi className="small block">{key.person_name}</bdi>}
              </span>
              <button type="button" className="plain" onClick={() => setLeaving(key)} aria-label={t("keys.revokeOne", { name: key.name })}>
                {t("keys.revoke")}
              </button>
            </li>
          ))}
        </ul>
      </Listed>
      {leaving && (
        <Confirm
          title={t("keys.revokeTitle")}
          text={t("keys.revokeText", { name: leaving.name })}
          action={t("keys.revoke")}
          danger
          onConfirm={() => void run(() => remove(`/api/operator/keys/${leaving.id}`)).then((done) => done && keys.reload())}
          onClose={() => setLeaving(null)}
        />
      )}
    </>
  );
}

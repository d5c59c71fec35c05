import { useId, useState } from "react";
import { useTranslation } from "react-i18next";
import { date, figureLabel, figureText, parameters } from "../lib/format";
import { modelAbout, modelTitle } from "../lib/names";
import type { Model } from "../lib/types";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";

interface Props {
  models: Model[];
  current: Model | undefined;
  compare: boolean;
  /** The ids that answer side by side. */
  chosen: string[];
  onPick: (id: string) => void;
  onChoose: (ids: string[]) => void;
}

/** Who answers. Behind the name stands a card for each model: what it is, where it comes from, how it measured. */
export function ModelPicker({ models, current, compare, chosen, onPick, onChoose }: Props) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  if (!current) return <span className="picker-note">{t("models.none")}</span>;
  const label = compare ? t("models.comparing", { count: chosen.length }) : modelTitle(current.name);
  const state = current.state === "ready" || compare ? "" : ` (${t(`models.states.${current.state}`)})`;
  return (
    <>
      <button type="button" className="picker" aria-haspopup="dialog" aria-label={t("models.picker", { name: label + state })} onClick={() => setOpen(true)}>
        <bdi>
          {label}
          {state}
        </bdi>
        <Icon name="down" size={16} />
      </button>
      {!compare && <span className="picker-about quiet">{modelAbout(current.name, current.role)}</span>}
      {open && (
        <Dialog title={t(compare ? "models.chooseMany" : "models.choose")} onClose={() => setOpen(false)}>
          <ul className="cards">
            {models.map((model) => (
              <ModelRow
                key={model.id}
                model={model}
                many={compare}
                checked={compare ? chosen.includes(model.id) : model.id === current.id}
                onPick={() => {
                  if (!compare) {
                    onPick(model.id);
                    setOpen(false);
                  } else {
                    const next = chosen.includes(model.id) ? chosen.filter((one) => one !== model.id) : [...chosen, model.id];
                    onChoose(models.map((one) => one.id).filter((one) => next.includes(one)));
                  }
                }}
              />
            ))}
          </ul>
        </Dialog>
      )}
    </>
  );
}

interface RowProps {
  model: Model;
  many: boolean;
  checked: boolean;
  onPick: () => void;
}

function ModelRow({ model, many, checked, onPick }: RowProps) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const id = useId();
  return (
    <li className="model-card">
      <div className="model-line">
        <button type="button" className="model-pick" role={many ? "checkbox" : "radio"} aria-checked={checked} onClick={onPick}>
          <span className={checked ? "tick on" : "tick"} aria-hidden="true">
            {checked && <Icon name="check" size={16} />}
          </span>
          <span>
            <bdi className="model-name">{modelTitle(model.name)}</bdi>
            {model.default && <span className="badge">{t("models.default")}</span>}
            <span className="quiet block">{modelAbout(model.name, model.role)}</span>
          </span>
        </button>
        <button
          type="button"
          className="icon-button"
          aria-label={t("models.about", { name: modelTitle(model.name) })}
          title={t("models.about", { name: modelTitle(model.name) })}
          aria-expanded={open}
          aria-controls={id}
          onClick={() => setOpen(!open)}
        >
          <Icon name="help" />
        </button>
      </div>
      {open && <ModelFacts id={id} model={model} />}
    </li>
  );
}

export function ModelFacts({ model, id }: { model: Model; id?: string }) {
  const { t } = useTranslation();
  const { card } = model;
  const facts: [string, string][] = [
    [t("models.version"), model.id],
    [t("models.state"), t(`models.states.${model.state}`) + (model.reason ? `: ${model.reason}` : "")],
  ];
  if (model.parameters) facts.push([t("models.parameters"), parameters(model.parameters)]);
  if (model.source) facts.push([t("models.source"), t(`models.sources.${model.source}`, { defaultValue: model.source })]);
  if (card?.kind) facts.push([t("models.kind"), card.kind]);
  if (card?.created) facts.push([t("models.created"), date(card.created)]);
  if (card?.parents?.length) facts.push([t("models.parents"), card.parents.join(", ")]);
  for (const [name, value] of Object.entries(card?.figures ?? {})) facts.push([figureLabel(name), figureText(name, value)]);
  return (
    <dl className="facts" id={id}>
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <bdi>{value}</bdi>
          </dd>
        </div>
      ))}
    </dl>
  );
}

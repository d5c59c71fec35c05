import i18n from "i18next";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { overall, type Status } from "../lib/build";
import { timeLeft } from "../lib/format";
import { Details } from "./details";
import { Lifecycle } from "./lifecycle";
import { Samples } from "./samples";
import { useBuild } from "./use-build";

const SILENT_SECONDS = 90;

export function BuildPage({ served }: { served: boolean }) {
  const { t } = useTranslation();
  const { build, connected } = useBuild();
  const [chosen, setChosen] = useState<string | null>(null);
  const { status } = build;
  if (status === null) {
    return (
      <main id="main" className="build">
        <p className="alone">{t(connected ? "build.looking" : "build.unreachable")}</p>
      </main>
    );
  }
  if (status.state === "absent") {
    return (
      <main id="main" className="build">
        <div className="alone">
          <h1>{t("build.absent")}</h1>
          <p>{t("build.absentAbout", { command: "chatwright demo" })}</p>
        </div>
      </main>
    );
  }
  const current = status.stages.find((stage) => stage.state === "running" || stage.state === "interrupted");
  const last = status.stages.findLast((stage) => stage.state === "done");
  const shown = status.stages.find((stage) => stage.name === chosen) ?? current ?? last ?? status.stages[0];
  return (
    <main id="main" className="build">
      <Summary status={status} served={served} connected={connected} />
      <div className="build-grid">
        <Lifecycle stages={status.stages} chosen={shown?.name ?? ""} onChoose={setChosen} />
        <div className="build-main">
          {shown && <Details stage={shown} curves={build.curves[shown.name]} notes={build.notes[shown.name]} />}
          <Samples samples={build.samples} stages={status.stages} />
        </div>
      </div>
    </main>
  );
}

function Summary({ status, served, connected }: { status: Status; served: boolean; connected: boolean }) {
  const { t } = useTranslation();
  const done = status.stages.filter((stage) => stage.state === "done").length;
  const share = overall(status);
  const finished = status.state === "done";
  return (
    <section className={finished ? "summary finished" : "summary"} aria-labelledby="summary-title">
      <div>
        <h1 id="summary-title">{t(finished ? "build.ready" : "build.building")}</h1>
        <p className="quiet" role="status">
          {sentence(status, done, connected)}
        </p>
      </div>
      {finished ? (
        <p className="summary-actions">
          {status.report && (
            <a className="button plain" href="/api/report" target="_blank" rel="noopener">
              {t("build.report")}
            </a>
          )}
          {served ? (
            <a className="button" href="#/chat">
              {t("build.start")}
            </a>
          ) : (
            <span className="quiet">{t("build.startingModels")}</span>
          )}
        </p>
      ) : (
        <progress value={share} max={1} aria-label={t("build.share")} />
      )}
    </section>
  );
}

function sentence(status: Status, done: number, connected: boolean): string {
  if (status.state === "done") return i18n.t("build.done");
  if (status.state === "interrupted") return i18n.t("build.interrupted");
  if (!connected) return i18n.t("build.lost");
  if ((status.silent ?? 0) > SILENT_SECONDS) return i18n.t("build.silent");
  const left = timeLeft(status.seconds_left);
  const stage = i18n.t("build.stage", { number: Math.min(done + 1, status.stages.length), total: status.stages.length });
  return left ? `${stage} · ${left}` : stage;
}

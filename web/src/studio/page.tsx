import { useState } from "react";
import { overall, type Status } from "../lib/build";
import { timeLeft } from "../lib/format";
import { Details } from "./details";
import { Lifecycle } from "./lifecycle";
import { Samples } from "./samples";
import { useBuild } from "./use-build";

const SILENT_SECONDS = 90;

export function BuildPage({ served }: { served: boolean }) {
  const { build, connected } = useBuild();
  const [chosen, setChosen] = useState<string | null>(null);
  const { status } = build;
  if (status === null) {
    return (
      <main id="main" className="build">
        <p className="alone">{connected ? "Looking at the build…" : "Chatwright cannot be reached. Is it still running?"}</p>
      </main>
    );
  }
  if (status.state === "absent") {
    return (
      <main id="main" className="build">
        <div className="alone">
          <h1>No build here</h1>
          <p>Nothing has been built in this workspace. Run <code>chatwright demo</code> and watch it here.</p>
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
  const done = status.stages.filter((stage) => stage.state === "done").length;
  const share = overall(status);
  const finished = status.state === "done";
  return (
    <section className={finished ? "summary finished" : "summary"} aria-labelledby="summary-title">
      <div>
        <h1 id="summary-title">{finished ? "Your assistant is ready" : "Your assistant is being built"}</h1>
        <p className="quiet" role="status">
          {sentence(status, done, connected)}
        </p>
      </div>
      {finished ? (
        <p className="summary-actions">
          {status.report && (
            <a className="button plain" href="/api/report" target="_blank" rel="noopener">
              Read the report
            </a>
          )}
          {served ? (
            <a className="button" href="#/chat">
              Start chatting
            </a>
          ) : (
            <span className="quiet">Starting the models…</span>
          )}
        </p>
      ) : (
        <progress value={share} max={1} aria-label="Share of the build that is done" />
      )}
    </section>
  );
}

function sentence(status: Status, done: number, connected: boolean): string {
  if (status.state === "done") return "Every stage is done. Look at what each one did, or start to chat.";
  if (status.state === "interrupted") return "The build was interrupted. Run the same command again: it goes on where it stopped.";
  if (!connected) return "The connection is lost; trying again…";
  if ((status.silent ?? 0) > SILENT_SECONDS) return "Nothing has been heard for a while. If it was stopped, run it again: it goes on.";
  const left = timeLeft(status.seconds_left);
  return `Stage ${Math.min(done + 1, status.stages.length)} of ${status.stages.length}${left ? ` · ${left}` : ""}`;
}

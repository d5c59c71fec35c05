import { type ReactNode, useCallback, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { failureText, get } from "../lib/api";
import type { Page } from "../lib/types";

export interface Paged<T> {
  rows: T[] | null;
  problem: string;
  more: (() => void) | null;
  reload: () => void;
  change: (row: T) => void;
}

/** Rows behind `path`, a page at a time. */
export function usePaged<T extends { id: string | number }>(path: string): Paged<T> {
  const [rows, setRows] = useState<T[] | null>(null);
  const [next, setNext] = useState<string | null>(null);
  const [problem, setProblem] = useState("");
  const [asked, setAsked] = useState(0);
  const read = useCallback(
    (before: string | null) => get<Page<T>>(before ? `${path}${path.includes("?") ? "&" : "?"}before=${encodeURIComponent(before)}` : path),
    [path],
  );
  useEffect(() => {
    let over = false;
    read(null).then(
      (page) => {
        if (over) return;
        setRows(page.data);
        setNext(page.next ?? null);
        setProblem("");
      },
      (error: unknown) => !over && setProblem(failureText(error)),
    );
    return () => {
      over = true;
    };
  }, [read, asked]);
  const more = () => {
    read(next).then(
      (page) => {
        setRows((old) => [...(old ?? []), ...page.data]);
        setNext(page.next ?? null);
      },
      (error: unknown) => setProblem(failureText(error)),
    );
  };
  return {
    rows, problem, more: next === null ? null : more,
    reload: useCallback(() => setAsked((number) => number + 1), []),
    change: useCallback((row: T) => setRows((old) => (old ?? []).map((one) => (one.id === row.id ? row : one))), []),
  }; // prettier-ignore
}

/** What stands around a list: why it is empty, what failed, and the way to more. */
export function Listed<T>({ list, children }: { list: Paged<T>; children: ReactNode }) {
  const { t } = useTranslation();
  return (
    <>
      {list.problem && (
        <p className="problem" role="alert">
          {list.problem}{" "}
          <button type="button" className="linklike" onClick={list.reload}>
            {t("ui.again")}
          </button>
        </p>
      )}
      {list.rows && !list.rows.length && <p className="quiet">{t("ui.none")}</p>}
      {children}
      {list.more && (
        <button type="button" className="plain" onClick={list.more}>
          {t("ui.more")}
        </button>
      )}
    </>
  );
}

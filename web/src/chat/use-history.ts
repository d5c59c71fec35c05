import { useCallback, useEffect, useRef, useState } from "react";
import { failureText, get } from "../lib/api";
import type { Chat, Page } from "../lib/types";

const PAGE = 50;

export interface History {
  chats: Chat[];
  more: boolean;
  loading: boolean;
  problem: string;
  loadMore: () => void;
  /** A chat was made or changed here. */
  put: (chat: Chat) => void;
  drop: (id: string) => void;
  reload: () => void;
}

/** The person's chats, newest first, a page at a time; read again when the window comes back. */
export function useHistory(): History {
  const [chats, setChats] = useState<Chat[]>([]);
  const [next, setNext] = useState<string | null>(null);
  const [loading, setLoading] = useState(true);
  const [problem, setProblem] = useState("");
  const over = useRef(false);

  const read = useCallback(async (before: string | null) => {
    setLoading(true);
    try {
      const page = await get<Page<Chat>>(`/api/chats?limit=${PAGE}${before ? `&before=${encodeURIComponent(before)}` : ""}`);
      if (over.current) return;
      setChats((old) => (before ? joined(old, page.data) : page.data));
      setNext(page.next ?? null);
      setProblem("");
    } catch (error) {
      if (!over.current) setProblem(failureText(error));
    } finally {
      if (!over.current) setLoading(false);
    }
  }, []);

  useEffect(() => {
    over.current = false;
    void read(null);
    const seen = () => document.visibilityState === "visible" && void read(null);
    document.addEventListener("visibilitychange", seen);
    addEventListener("online", seen);
    return () => {
      over.current = true;
      document.removeEventListener("visibilitychange", seen);
      removeEventListener("online", seen);
    };
  }, [read]);

  const drop = useCallback((id: string) => setChats((old) => old.filter((chat) => chat.id !== id)), []);
  const put = useCallback(
    (chat: Chat) => (chat.archived || chat.temporary ? drop(chat.id) : setChats((old) => joined([chat], old))),
    [drop],
  );
  return {
    chats, more: next !== null, loading, problem, put, drop,
    loadMore: useCallback(() => next && void read(next), [next, read]),
    reload: useCallback(() => void read(null), [read]),
  }; // prettier-ignore
}

function joined(first: Chat[], second: Chat[]): Chat[] {
  const known = new Set(first.map((chat) => chat.id));
  return [...first, ...second.filter((chat) => !known.has(chat.id))];
}

import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import { ChatSession, type View } from "../lib/session";
import type { Chat } from "../lib/types";

const NOTHING: View = { state: null, loading: true, missing: false, pending: null, lost: false, problem: "", status: "" };
const never = () => () => undefined;
const nothing = () => NOTHING;

/** The session of the chat at `id`. One that a first question made stays when its address appears. */
export function useSession(id: string | null, onChat: (chat: Chat) => void): { session: ChatSession | null; view: View } {
  const [session, setSession] = useState<ChatSession | null>(null);
  const current = useRef<ChatSession | null>(null);
  const told = useRef(onChat);
  told.current = onChat;

  useEffect(() => {
    if (current.current && id !== null && current.current.id === id) return;
    current.current?.close();
    const made = new ChatSession(id, (chat) => current.current === made && told.current(chat));
    current.current = made;
    setSession(made);
    void made.open();
  }, [id]);
  useEffect(
    () => () => {
      current.current?.close();
      current.current = null;
    },
    [],
  );

  const view = useSyncExternalStore(session?.subscribe ?? never, session?.getView ?? nothing);
  return { session, view };
}

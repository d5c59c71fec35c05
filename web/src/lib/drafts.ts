/** What was written and not sent, kept by this browser for each chat. */

const KEY = "chatwright.draft.";
const MOST = 50;

export const loadDraft = (storage: Storage, chat: string): string => {
  try {
    return storage.getItem(KEY + chat) ?? "";
  } catch {
    return "";
  }
};

export function saveDraft(storage: Storage, chat: string, text: string): void {
  try {
    if (text) storage.setItem(KEY + chat, text);
    else storage.removeItem(KEY + chat);
    const kept = Object.keys(storage).filter((key) => key.startsWith(KEY));
    for (const key of kept.slice(0, Math.max(0, kept.length - MOST))) if (key !== KEY + chat) storage.removeItem(key);
  } catch {
    // A full or forbidden storage only means that a draft is not kept.
  }
}

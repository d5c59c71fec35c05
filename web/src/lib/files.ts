/** Text files that are added to a message. */

import i18n from "i18next";
import type { Attachment } from "./types";

export const MOST_FILES = 10;
export const LONGEST_FILE = 200_000;
/** Characters of one turn: the server takes a body of a million bytes. */
export const LONGEST_TURN = 600_000;

/** The file as text. Rejects with a sentence where it is no text, or too long. */
export async function readTextFile(file: File): Promise<Attachment> {
  const name = file.name.slice(-200) || "text.txt";
  if (file.size > LONGEST_FILE * 4) throw new Error(i18n.t("files.long", { name, most: LONGEST_FILE }));
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    throw new Error(i18n.t("files.binary", { name }));
  }
  if (text.includes("\0")) throw new Error(i18n.t("files.binary", { name }));
  if (text.length > LONGEST_FILE) throw new Error(i18n.t("files.long", { name, most: LONGEST_FILE }));
  return { name, text };
}

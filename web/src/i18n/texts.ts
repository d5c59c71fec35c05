import type { en } from "./en";

type Plural = "zero" | "one" | "two" | "few" | "many" | "other";
type Stem<Key> = Key extends `${infer Name}_${Plural}` ? Name : never;

/** The shape of the English texts. A text that counts has the forms that its language needs, whichever these are. */
export type Texts = TextsLike<typeof en>;
type TextsLike<T> = {
  [Key in keyof T as Key extends `${string}_${Plural}` ? never : Key]: T[Key] extends string ? string : TextsLike<T[Key]>;
} & { [Key in `${Stem<keyof T> & string}_${Plural}`]?: string };

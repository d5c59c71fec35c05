import { describe, expect, test } from "vitest";
import { ar } from "./ar";
import { de } from "./de";
import { en } from "./en";
import { es } from "./es";
import { fr } from "./fr";
import { LANGUAGES, spokenOf } from ".";
import { zh } from "./zh";

type Tree = { [name: string]: string | Tree };

function flat(tree: Tree, before = ""): Map<string, string> {
  const found = new Map<string, string>();
  for (const [name, value] of Object.entries(tree)) {
    if (typeof value === "string") found.set(before + name, value);
    else for (const [key, text] of flat(value, `${before}${name}.`)) found.set(key, text);
  }
  return found;
}

const PLURAL = /_(zero|one|two|few|many|other)$/;
const placeholders = (text: string) => [...text.matchAll(/\{\{\s*(\w+)/g)].map((match) => match[1]).sort();
const english = flat(en);
const counted = [...english.keys()].filter((key) => key.endsWith("_other")).map((key) => key.replace(PLURAL, ""));
const isCounted = (key: string) => PLURAL.test(key) && counted.includes(key.replace(PLURAL, ""));
const texts = { es, fr, de, zh, ar };

describe.each(Object.entries(texts))("%s", (language, tree) => {
  const found = flat(tree as unknown as Tree);

  test("has every text, and no other", () => {
    const plain = (keys: Iterable<string>) => [...keys].filter((key) => !isCounted(key)).sort();
    expect(plain(found.keys())).toEqual(plain(english.keys()));
  });

  test("has the same placeholders in each", () => {
    for (const [key, text] of found) {
      const wanted = english.get(key) ?? english.get(key.replace(PLURAL, "_other")) ?? "";
      expect(placeholders(text), key).toEqual(placeholders(wanted));
    }
  });

  test("counts with exactly the forms that the language has", () => {
    const forms = new Intl.PluralRules(language).resolvedOptions().pluralCategories.toSorted();
    for (const stem of counted) {
      const given = [...found.keys()].filter((key) => PLURAL.test(key) && key.replace(PLURAL, "") === stem);
      expect(given.map((key) => PLURAL.exec(key)?.[1]).toSorted(), stem).toEqual(forms);
    }
  });

  test("leaves nothing empty and little in English", () => {
    const same = [...found].filter(([key, text]) => english.get(key) === text && / /.test(text));
    for (const [key, text] of found) expect(text.trim(), key).not.toBe("");
    expect(same).toEqual([]);
  });
});

test("every text that a page asks for is there", () => {
  const files = import.meta.glob<string>(["../**/*.{ts,tsx}", "!../**/*.test.ts"], { query: "?raw", import: "default", eager: true });
  expect(Object.keys(files).length).toBeGreaterThan(40);
  const known = new Set([...english.keys()].flatMap((key) => [key, key.replace(PLURAL, "")]));
  for (const [file, source] of Object.entries(files)) {
    for (const [, key] of source.matchAll(/\bt\(\s*"([a-z][\w-]*(?:\.[\w-]+)+)"/g)) expect(known.has(key ?? ""), `${file}: ${key}`).toBe(true);
  }
});

test("the language is the one chosen, else the browser's first that is spoken here", () => {
  expect(spokenOf("fr", ["de"])).toBe("fr");
  expect(spokenOf("", ["pt-BR", "zh-Hans-CN", "de"])).toBe("zh");
  expect(spokenOf("", ["xx"])).toBe("en");
  expect(Object.keys(LANGUAGES)).toEqual(["en", ...Object.keys(texts)]);
});

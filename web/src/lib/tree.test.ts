import { expect, test } from "vitest";
import { message } from "./sample.test.data";
import { branchTo, childrenOf, newestLeaf, together, variantsOf } from "./tree";
import type { Message } from "./types";

// u1 → a1 → u2 → a2, a2b (again), and u2e (edited) → a3
const TREE = [
  message("u1", null), message("a1", "u1"), message("u2", "a1"), message("a2", "u2"), message("a2b", "u2"),
  message("u2e", "a1"), message("a3", "u2e"),
]; // prettier-ignore
const ids = (messages: Message[]) => messages.map((one) => one.id);

test("a branch goes from the first message to its leaf", () => {
  expect(ids(branchTo(TREE, "a2"))).toEqual(["u1", "a1", "u2", "a2"]);
  expect(ids(branchTo(TREE, "u2e"))).toEqual(["u1", "a1", "u2e"]);
});

test("a leaf that is gone, or none, means the newest message", () => {
  expect(ids(branchTo(TREE, "gone"))).toEqual(["u1", "a1", "u2e", "a3"]);
  expect(ids(branchTo(TREE, null))).toEqual(["u1", "a1", "u2e", "a3"]);
  expect(branchTo([], null)).toEqual([]);
});

test("a ring of parents ends", () => {
  expect(ids(branchTo([message("a", "b"), message("b", "a")], "a"))).toEqual(["b", "a"]);
});

test("variants are what else could stand in a place", () => {
  const children = childrenOf(TREE);
  expect(variantsOf(children, TREE[3] as Message)).toMatchObject({ index: 0, all: [{ id: "a2" }, { id: "a2b" }] });
  expect(variantsOf(children, TREE[5] as Message)).toMatchObject({ index: 1, all: [{ id: "u2" }, { id: "u2e" }] });
});

test("turning to a variant goes on to the newest end behind it", () => {
  expect(newestLeaf(TREE, "u2")).toBe("a2b");
  expect(newestLeaf(TREE, "u2e")).toBe("a3");
  expect(newestLeaf(TREE, "a1")).toBe("a3");
});

test("answers of one turn stand together, later ones do not", () => {
  const rows = [message("u", null), message("a", "u", { turn: "t" }), message("b", "u", { turn: "t" }), message("c", "u", { turn: "t2" })];
  const children = childrenOf(rows);
  expect(ids(together(children, rows[1] as Message))).toEqual(["a", "b"]);
  expect(ids(together(children, rows[3] as Message))).toEqual(["c"]);
});

test("a comparison is shown with its sides as the server shuffled them", () => {
  const side = (value: "left" | "right") => ({ turn: "t", comparison: { id: "x", side: value, settled: null } });
  const rows = [message("a", "u", side("right")), message("b", "u", side("left"))];
  expect(ids(together(childrenOf(rows), rows[0] as Message))).toEqual(["b", "a"]);
});

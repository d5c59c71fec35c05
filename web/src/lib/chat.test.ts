import { describe, expect, test } from "vitest";
import { type Answer, conversation, isBusy, loadTurns, messagesFor, type Turn } from "./chat";

const answer = (model: string, text: string, status: Answer["status"] = "done"): Answer => ({
  model, name: model, text, status, detail: "", dropped: 0,
}); // prettier-ignore

describe("messagesFor", () => {
  const turns: Turn[] = [
    { id: "1", user: "hi", answers: [answer("a", "from a"), answer("b", "from b")] },
    { id: "2", user: "more", answers: [answer("a", "again a"), answer("b", "broke", "error")] },
    { id: "3", user: "last", answers: [answer("b", "")] },
  ];

  test("a model hears its own earlier answers", () => {
    expect(messagesFor(turns, 2, "a").map((one) => one.content)).toEqual(["hi", "from a", "more", "again a", "last"]);
  });

  test("where it gave none or failed, it hears the first that was given", () => {
    expect(messagesFor(turns, 2, "b").map((one) => one.content)).toEqual(["hi", "from b", "more", "again a", "last"]);
    expect(messagesFor(turns, 2, "new").map((one) => one.content)).toEqual(["hi", "from a", "more", "again a", "last"]);
  });

  test("a turn nobody answered is left out, so that roles alternate", () => {
    const failed: Turn[] = [{ id: "0", user: "lost", answers: [answer("a", "", "error")] }, ...turns];
    expect(messagesFor(failed, 3, "a").map((one) => one.role)).toEqual(["user", "assistant", "user", "assistant", "user"]);
  });
});

test("text goes to the answer it belongs to and to no other", () => {
  let turns = conversation([], { type: "ask", turn: { id: "1", user: "hi", answers: [answer("a", "", "waiting"), answer("b", "", "waiting")] } });
  turns = conversation(turns, { type: "text", turn: "1", model: "b", text: "x" });
  expect(turns[0]?.answers.map((one) => one.text)).toEqual(["", "x"]);
  expect(isBusy(turns)).toBe(true);
  for (const model of ["a", "b"]) turns = conversation(turns, { type: "end", turn: "1", model, status: "done", detail: "stop" });
  expect(isBusy(turns)).toBe(false);
});

test("a broken or foreign storage starts a fresh conversation, and a torn answer counts as stopped", () => {
  const storage = (value: string | null) => ({ getItem: () => value }) as unknown as Storage;
  expect(loadTurns(storage(null))).toEqual([]);
  expect(loadTurns(storage("{nonsense"))).toEqual([]);
  expect(loadTurns(storage('{"not":"a list"}'))).toEqual([]);
  expect(loadTurns(storage("[{}]"))).toEqual([]);
  const torn = JSON.stringify([{ id: "1", user: "hi", answers: [answer("a", "half", "streaming")] }]);
  expect(loadTurns(storage(torn))[0]?.answers[0]?.status).toBe("stopped");
});

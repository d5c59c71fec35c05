import { describe, expect, test } from "vitest";
import { readEvents } from "./sse";

function streamOf(bytes: Uint8Array, size: number): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
      controller.close();
    },
  });
}

async function collect(text: string, size: number): Promise<string[]> {
  const events: string[] = [];
  for await (const event of readEvents(streamOf(new TextEncoder().encode(text), size))) events.push(event.data);
  return events;
}

describe("readEvents", () => {
  const wire = ': ping\n\ndata: {"a":"é🙂"}\n\ndata: one\ndata: two\n\nevent: x\ndata:tight\n\ndata: [DONE]\n\n';
  const wanted = ['{"a":"é🙂"}', "one\ntwo", "tight", "[DONE]"];

  test("the same events come out however the bytes are split", async () => {
    for (let size = 1; size < wire.length; size++) expect(await collect(wire, size)).toEqual(wanted);
  });

  test("line ends may be CR LF, split anywhere", async () => {
    for (let size = 1; size < 40; size++) expect(await collect(wire.replaceAll("\n", "\r\n"), size)).toEqual(wanted);
  });

  test("an event without its empty line is not an event", async () => {
    expect(await collect("data: whole\n\ndata: torn", 5)).toEqual(["whole"]);
  });
});

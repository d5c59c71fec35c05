/** Server-sent events from a fetch body: frames split anywhere, UTF-8 split anywhere, CR LF or LF, comments. */

export interface ServerEvent {
  event: string;
  data: string;
}

/** The events of `body`; `alive` is called for whatever arrives, comments too. */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
  alive: () => void = () => undefined,
): AsyncGenerator<ServerEvent> {
  const reader = body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader();
  let rest = "";
  let event = "message";
  let data: string[] = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive();
      rest += value;
      // A trailing CR may be the first half of CR LF: it waits for the next block.
      const held = rest.endsWith("\r") ? "\r" : "";
      const lines = (held ? rest.slice(0, -1) : rest).split(/\r\n|\r|\n/);
      rest = (lines.pop() ?? "") + held;
      for (const line of lines) {
        if (line === "") {
          if (data.length) yield { event, data: data.join("\n") };
          event = "message";
          data = [];
        } else if (line.startsWith("data:")) {
          data.push(line.slice(line.startsWith("data: ") ? 6 : 5));
        } else if (line.startsWith("event:")) {
          event = line.slice(line.startsWith("event: ") ? 7 : 6);
        }
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

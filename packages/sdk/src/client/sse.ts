/** One message of an event stream, as the HTML standard dispatches it. */
export interface SseMessage {
  readonly data: string;
  /** The last id that the stream gave; empty when none was. */
  readonly id: string;
  /** `message` when the stream named none. */
  readonly event: string;
}

export interface SseParser {
  /** The messages that these bytes complete. Bytes may be cut anywhere, inside a character or a line end too. */
  push(bytes: Uint8Array): SseMessage[];
}

/**
 * A parser for `text/event-stream`. What stands unfinished at the end of the stream is not a message.
 * Reconnection times (`retry`) are read over: the client has its own, which grow.
 */
export function createSseParser(): SseParser {
  // The decoder takes a byte order mark at the start away, as the standard asks.
  const decoder = new TextDecoder();
  let rest = "";
  let skipLineFeed = false;
  let data: string[] = [];
  let event = "";
  let id = "";

  const field = (name: string, value: string): void => {
    if (name === "data") data.push(value);
    else if (name === "event") event = value;
    else if (name === "id" && !value.includes("\0")) id = value;
  };
  const line = (text: string, found: SseMessage[]): void => {
    if (text === "") {
      if (data.length > 0) found.push({ data: data.join("\n"), id, event: event === "" ? "message" : event });
      data = [];
      event = "";
      return;
    }
    const colon = text.indexOf(":");
    if (colon === 0) return;
    if (colon === -1) return field(text, "");
    field(text.slice(0, colon), text.slice(text[colon + 1] === " " ? colon + 2 : colon + 1));
  };
  return {
    push: (bytes) => {
      const found: SseMessage[] = [];
      let text = decoder.decode(bytes, { stream: true });
      if (skipLineFeed && text !== "") {
        if (text.startsWith("\n")) text = text.slice(1);
        skipLineFeed = false;
      }
      // What was left over has no line end; only the new text is searched, so that a long line costs its length.
      const ends = /\r\n|\n|\r/g;
      let start = 0;
      for (let end = ends.exec(text); end !== null; end = ends.exec(text)) {
        line(rest + text.slice(start, end.index), found);
        rest = "";
        start = ends.lastIndex;
        skipLineFeed = end[0] === "\r" && start === text.length;
      }
      rest += text.slice(start);
      return found;
    },
  };
}

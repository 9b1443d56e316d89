import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ChosenModel } from "./choose-model.ts";
import { createArraySplitter } from "./json-array.ts";
import { prepareRequest, readWholeAnswer, watchStream } from "./openai-chat.ts";
import { createRedactor } from "../redact.ts";
import { createSseSplitter, dataOf } from "./sse.ts";
import { openaiAt } from "./testing/provider.ts";
import { NO_TOKENS, readEvent } from "./wire-format.ts";

const event = fc.constantFrom(
  "data: one\n\n",
  "data: two\r\n\r\n",
  ": comment\n\n",
  "event: x\ndata: a\ndata: b\n\n",
  "data: ä€😀\n\n",
  "\n\r\n\ndata: after blank lines\n\n",
  "data:\n\n",
);

/** Blank lines that came by themselves, in front of what they stand before. */
function withBlanks(pieces: readonly string[]): string[] {
  const whole: string[] = [];
  let blanks = "";
  for (const piece of pieces) {
    if (/^[\r\n]+$/.test(piece)) blanks += piece;
    else {
      whole.push(blanks + piece);
      blanks = "";
    }
  }
  return blanks === "" ? whole : [...whole, blanks];
}

describe("splitting a stream", () => {
  test("gives back every byte, event by event, however it comes in", () => {
    fc.assert(
      fc.property(fc.array(event), fc.constantFrom("", "data: cut", "data: cut\n"), fc.array(fc.nat(40)), (events, rest, cuts) => {
        const bytes = Buffer.from(events.join("") + rest);
        const splitter = createSseSplitter();
        const got: string[] = [];
        let at = 0;
        for (const cut of [...cuts, bytes.length]) {
          const block = splitter.push(bytes.subarray(at, at + cut));
          const inBlock = block.events().map(String);
          expect(String(block.bytes)).toBe(inBlock.join(""));
          got.push(...inBlock);
          at += cut;
        }
        expect(withBlanks(got)).toEqual(events);
        expect(String(splitter.rest())).toBe(rest);
      }),
    );
  });

  test("blank lines are no events, however many come", () => {
    expect(createSseSplitter().push(Buffer.alloc(1_000_000, "\n")).events()).toHaveLength(1);
  });

  test.each([createSseSplitter, createArraySplitter])("an event of many small pieces is not copied with each of them", (create) => {
    const splitter = create();
    splitter.push(Buffer.from(create === createArraySplitter ? '[{"a":"' : "data: "));
    const piece = Buffer.alloc(512, "x");
    for (let size = 0; size < 8 * 1024 * 1024; size += piece.length) splitter.push(piece);
    const [whole] = splitter.push(Buffer.from(create === createArraySplitter ? '"}]' : "\n\n")).events();
    expect(whole?.length).toBeGreaterThan(8 * 1024 * 1024);
  });

  test.each([
    ["data: x\n\n", "x"],
    ["data:x\r\n\r\n", "x"],
    ["data:  x\n\n", " x"],
    ["event: e\ndata: a\nid: 1\ndata: b\n\n", "a\nb"],
    ["data\n\n", ""],
    [": comment\n\n", null],
    ["database: x\n\n", null],
  ])("%j has the data %j", (text, data) => expect(dataOf(Buffer.from(text))).toBe(data));
});

describe("redaction", () => {
  const secret = 'sk-"a/b+c=d-0123456789';

  test("takes a secret out in every spelling, wherever it stands, and leaves all other bytes", () => {
    const spelling = fc.constantFrom(
      secret,
      JSON.stringify(secret).slice(1, -1),
      JSON.stringify(secret).slice(1, -1).replaceAll("/", "\\/"),
      encodeURIComponent(secret),
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(spelling, fc.string({ unit: "grapheme" }))), (parts) => {
        const { bytes, text } = createRedactor([secret, null]);
        const whole = parts.join("|");
        const expected = [
          encodeURIComponent(secret),
          JSON.stringify(secret).slice(1, -1).replaceAll("/", "\\/"),
          JSON.stringify(secret).slice(1, -1),
          secret,
        ].reduce((rest, one) => rest.replaceAll(one, "[redacted]"), whole);
        expect(String(bytes(Buffer.from(whole)))).toBe(expected);
        expect(text(whole)).toBe(expected);
      }),
    );
  });

  test("takes it out of base64 too, whatever stands before and behind it", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary-ascii" }), fc.string({ unit: "binary-ascii" }), fc.boolean(), (before, behind, isUrl) => {
        const encoded = Buffer.from(before + secret + behind).toString(isUrl ? "base64url" : "base64");
        const text = createRedactor([secret]).text(`{"basic":"${encoded}"}`);
        expect(text).toContain("[redacted]");
        expect(Buffer.from(text.slice(10, -2).replace("[redacted]", ""), "base64").toString()).not.toContain(secret.slice(3, -3));
      }),
    );
  });

  test("leaves bytes that are no text alone", () => {
    const bytes = Buffer.from([0, 255, 128, 195, 40]);
    const around = Buffer.concat([bytes, Buffer.from(secret), bytes]);
    expect(createRedactor([secret]).bytes(around)).toEqual(Buffer.concat([bytes, Buffer.from("[redacted]"), bytes]));
    expect(createRedactor([secret]).bytes(bytes)).toBe(bytes);
    expect(createRedactor([null, "short-key-1"]).text("short-key-1")).toBe("short-key-1");
  });
});

describe("chat completions", () => {
  const provider = openaiAt({ baseUrl: "http://127.0.0.1/v1", apiKey: null, model: null });
  const keep = (model: string): ChosenModel => ({ provider, model });

  test("a request that needs no change stays as it is, to the byte", () => {
    const raw = Buffer.from('{ "messages": [],\n"seed": 12345678901234567890, "model": "m", "model": "m" }');
    expect(prepareRequest(raw, keep).body).toBe(raw);
    const streamed = Buffer.from('{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}');
    expect(prepareRequest(streamed, keep)).toMatchObject({ body: streamed, stream: true, wantsUsageEvent: true });
  });

  test("fields that are not known go through", () => {
    const body = {
      model: "a",
      messages: [{ role: "user", content: "x", odd: { a: [1] } }],
      reasoning_effort: "high",
      stream: true,
      stream_options: null,
    };
    const { body: sent, wantsUsageEvent } = prepareRequest(Buffer.from(JSON.stringify(body)), () => keep("b"));
    expect(JSON.parse(String(sent))).toEqual({ ...body, model: "b", stream_options: { include_usage: true } });
    expect(wantsUsageEvent).toBe(false);
  });

  const see = (...events: string[]) => {
    const watcher = watchStream({ wantsUsageEvent: false });
    const fates = events.map((text) => watcher.see(readEvent(Buffer.from(`data: ${text}\n\n`))));
    return { fates, ...watcher.report() };
  };
  const finish = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}';

  test("usage beside choices stays, usage alone is kept back, and the last count is what counts", () => {
    const usage = (count: number): string => `{"prompt_tokens":${count},"completion_tokens":${count},"prompt_tokens_details":null}`;
    const { fates, tokens } = see(
      `{"choices":[{"index":0,"delta":{}}],"usage":${usage(1)}}`,
      '{"choices":[],"prompt_filter_results":[]}',
      '{"choices":[],"usage":null}',
      `{"choices":[],"usage":${usage(2)}}`,
    );
    expect(fates).toEqual(["forward", "forward", "forward", "drop"]);
    expect(tokens).toEqual({ ...NO_TOKENS, inputTokens: 2, outputTokens: 2 });
  });

  test.each(["-1", "1.5", '"12"', "null", "{}"])("a count of %s is no count", (count) => {
    expect(see(`{"choices":[],"usage":{"prompt_tokens":${count},"completion_tokens":3}}`).tokens).toEqual({
      ...NO_TOKENS,
      outputTokens: 3,
    });
  });

  test("errors are known in their different shapes, and not where there are none", () => {
    expect(see('{"error":{"message":"overloaded","code":529}}').error).toBe("overloaded");
    expect(see('{"error":"overloaded"}').error).toBe("overloaded");
    expect(see('{"error":{}}').error).toBe("The provider reported an error without words.");
    expect(see(finish, '{"choices":[],"error":null}').error).toBeNull();
    expect(see("no json").error).toContain("not a chat completion chunk");
  });

  test("an answer is whole only with its end", () => {
    expect(see().complete).toBe(false);
    expect(see('{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}').complete).toBe(false);
    expect(see(finish).complete).toBe(true);
    expect(see(finish, '{"error":"late"}').complete).toBe(false);
    expect(see("[DONE]")).toMatchObject({ complete: true, fates: ["last"] });
  });

  test("a whole answer that is an error after all is told as one", () => {
    expect(readWholeAnswer(Buffer.from('{"error":{"message":"no quota"}}'))).toMatchObject({
      complete: true,
      error: expect.stringContaining("no quota") as string,
    });
    expect(readWholeAnswer(Buffer.from('{"choices":[{"mess'))).toMatchObject({ complete: false });
  });
});

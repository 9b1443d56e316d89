import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createRedactor } from "../redact.ts";
import type { JournalLine } from "../sandbox/journal.ts";
import { heldBack, hideInLines, withoutHalves } from "./hide-in-lines.ts";

const VALUE = 'cnry/Zt9"Rp2 é';
const redactor = createRedactor([], [{ name: "TOKEN", value: VALUE }]);
const redact = (text: string): string => redactor.text(text);

const update = (fields: object): string =>
  JSON.stringify({ jsonrpc: "2.0", method: "session/update", params: { sessionId: "s", update: fields } });
const chunk = (text: string, kind = "agent_message_chunk"): string => update({ sessionUpdate: kind, content: { type: "text", text } });
const REPORTS = [
  update({ sessionUpdate: "usage_update", used: 1, size: 2 }),
  "a stray line",
  update({ sessionUpdate: "session_info_update", title: "x" }),
];
const TOOL = update({ sessionUpdate: "tool_call", toolCallId: "c", title: "Look", kind: "read" });

const journal = (texts: readonly string[]): JournalLine[] => texts.map((text, index) => ({ offset: index * 100, text }));
const textsOf = (lines: readonly JournalLine[]): string[] => lines.map((line) => ("text" in line ? line.text : ""));
const saidIn = (lines: readonly JournalLine[]): string[] =>
  textsOf(lines).flatMap((text) => {
    const content = text.startsWith("{")
      ? (JSON.parse(text) as { params?: { update?: { content?: { text: string } } } }).params?.update?.content
      : undefined;
    return content === undefined ? [] : [content.text];
  });

/** What is taken in of lines that come in batches: what is held back comes again with the next ones, as the runner does it. */
function takenIn(batches: readonly (readonly string[])[]): JournalLine[] {
  const taken: JournalLine[] = [];
  let pending: JournalLine[] = [];
  for (const [index, batch] of batches.entries()) {
    pending.push(...journal(batch));
    const later = index === batches.length - 1 ? [] : heldBack(pending, redactor);
    taken.push(...hideInLines(pending.slice(0, pending.length - later.length), { redactor, redact }));
    pending = later;
  }
  return taken;
}

describe("a message in pieces", () => {
  test("says the same as the whole one with its secrets hidden, wherever it is cut, and whatever is reported in between", () => {
    const part = fc.constantFrom(
      VALUE,
      VALUE.slice(0, 5),
      VALUE.slice(5),
      "c",
      " and ",
      "größe ",
      Buffer.from(VALUE).toString("base64"),
      encodeURIComponent(VALUE),
    );
    const pieces = fc.array(fc.tuple(fc.nat({ max: 12 }), fc.boolean(), fc.option(fc.constantFrom(...REPORTS))), {
      minLength: 1,
      maxLength: 30,
    });
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), pieces, (parts, cuts) => {
        const whole = parts.join("");
        const batches: string[][] = [[]];
        let at = 0;
        for (const [length, endsBatch, report] of cuts) {
          batches.at(-1)?.push(chunk(whole.slice(at, at + length)), ...(report === null ? [] : [report]));
          at += length;
          if (endsBatch) batches.push([]);
        }
        batches.at(-1)?.push(chunk(whole.slice(at)));
        const said = saidIn(takenIn(batches)).join("");
        expect(said).toBe(redactor.text(whole));
      }),
      { numRuns: 500 },
    );
  });

  test("is taken in up to where it may be the beginning of a secret, and all of it once something else is done", () => {
    const lines = journal([chunk("Hello "), chunk(`cn`), chunk("ry")]);
    expect(heldBack(lines, redactor)).toEqual(lines.slice(1));
    expect(heldBack(journal([chunk("Hello "), chunk("world")]), redactor)).toEqual([]);
    expect(heldBack([...lines, ...journal(REPORTS)], redactor)).toHaveLength(5);
    expect(heldBack([...lines, ...journal([TOOL])], redactor)).toEqual([]);
    expect(heldBack([...lines, ...journal(['{"jsonrpc":"2.0","id":3,"result":{}}'])], redactor)).toEqual([]);
    // The control: without secrets nothing waits.
    expect(heldBack(lines, createRedactor([]))).toEqual([]);
  });

  test("does not go on in a message of another kind, nor behind an act", () => {
    for (const between of [chunk("x", "agent_thought_chunk"), TOOL]) {
      const taken = hideInLines(journal([chunk(VALUE.slice(0, 6)), between, chunk(VALUE.slice(6))]), { redactor, redact });
      expect(textsOf(taken).join("\n")).not.toContain("[secret");
    }
  });
});

test("every text of a line is hidden, and a line without one stays as it came", () => {
  const tool = update({ sessionUpdate: "tool_call", toolCallId: "c", title: `Use ${VALUE}`, rawInput: { command: [VALUE], [VALUE]: 1 } });
  const plain = '{"jsonrpc":"2.0", "id": 12345678901234567890, "method":"x"}';
  const [hidden, stray, same, long] = hideInLines([...journal([tool, `stray ${VALUE}`, plain]), { offset: 1, tooLongBytes: 9 }], {
    redactor,
    redact,
  });
  expect(JSON.stringify(hidden)).not.toContain("cnry");
  expect(hidden).toMatchObject({ text: expect.stringContaining('"title":"Use [secret TOKEN]"') as string });
  expect([stray, same, long]).toMatchObject([{ text: "stray [secret TOKEN]" }, { text: plain }, { tooLongBytes: 9 }]);
});

test("the output of a tool that goes on ends before what may be the beginning of a secret", () => {
  const data = {
    toolCallId: "c",
    title: "t",
    kind: "execute" as const,
    status: "in_progress" as const,
    exitCode: null,
    diffs: [],
    locations: [],
  };
  const cut = (type: "tool.updated" | "tool.finished", output: string | null): unknown =>
    (withoutHalves({ type, data: { ...data, output } }, redactor).data as { output: unknown }).output;
  expect([
    cut("tool.updated", "out cnry/"),
    cut("tool.updated", "out"),
    cut("tool.updated", null),
    cut("tool.finished", "out cnry/"),
  ]).toEqual(["out ", "out", null, "out cnry/"]);
});

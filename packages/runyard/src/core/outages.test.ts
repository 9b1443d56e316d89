import { expect, test } from "vitest";
import { type CallOutcome, type Outage, seeOutages } from "./outages.ts";

const ok: CallOutcome = { ok: true, status: 200, tries: 1, error: null };
const busy: CallOutcome = { ...ok, tries: 2 };
const old: CallOutcome = { ...ok, tries: null };
const failed = (status: number | null, error: string | null = "oops"): CallOutcome => ({ ok: false, status, tries: 1, error });

test.each<[string, readonly CallOutcome[], readonly string[], Outage | null]>([
  ["nothing", [], [], null],
  ["what goes well", [ok, old, ok], [], null],
  ["a failure, once", [failed(500), failed(500), failed(500)], ["A model call failed (500): oops"], { kind: "failing", status: 500 }],
  [
    "failures of different kinds",
    [failed(500), failed(null), failed(null, null)],
    ["A model call failed (500): oops", "A model call failed: oops"],
    { kind: "failing", status: null },
  ],
  [
    "an answer that did not come, without words",
    [failed(null, null)],
    ["A model call failed: no answer"],
    { kind: "failing", status: null },
  ],
  ["that it is over", [failed(500), failed(500), ok, ok], ["A model call failed (500): oops", "Model calls succeed again."], null],
  [
    "a new failure after that",
    [failed(500), ok, failed(500)],
    ["A model call failed (500): oops", "Model calls succeed again.", "A model call failed (500): oops"],
    { kind: "failing", status: 500 },
  ],
  ["a busy provider, once", [busy, busy], [expect.stringContaining("too busy") as string], { kind: "busy" }],
  ["nothing of a busy provider that is none any more", [busy, ok], [expect.stringContaining("too busy") as string], null],
  [
    "a busy provider that had failed",
    [failed(429), busy],
    ["A model call failed (429): oops", "Model calls succeed again.", expect.stringContaining("too busy") as string],
    { kind: "busy" },
  ],
])("the log is told %s", (_, calls, messages, outage) => {
  const all = seeOutages(null, calls);
  expect(all.events.map((event) => (event.type === "notice" ? event.data.message : ""))).toEqual(messages);
  expect(all.outage).toEqual(outage);
  // However they come in.
  let one: ReturnType<typeof seeOutages> = { outage: null, events: [] };
  const events = calls.flatMap((call) => (one = seeOutages(one.outage, [call])).events);
  expect(events).toEqual(all.events);
  expect(one.outage).toEqual(outage);
});

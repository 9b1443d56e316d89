import { expect, test } from "vitest";
import { call } from "../testing/caller.ts";
import { newRun, useHosts } from "../testing/host.ts";

const { shared } = useHosts();
const TOOLS = ["list_files", "write_file", "update_plan"].map((name) => ({ type: "function", name, parameters: {} }));

interface Item {
  readonly type: string;
  readonly call_id?: string;
  readonly name?: string;
  readonly content?: { readonly text: string }[];
}

/** Asks as a run that is simulated does. */
async function simulate() {
  const { gateway, host } = await shared();
  const run = { ...newRun(), simulated: true };
  await gateway.openRun(run);
  const ask = async (body: object) =>
    (await call(gateway, { token: run.token, path: "/v1/responses", body: { model: "runyard", tools: TOOLS, ...body } })).body;
  const output = async (body: object) => (JSON.parse(await ask(body)) as { output: Item[] }).output;
  return { ask, output, closes: () => host.closes(run.runId) };
}

test("a simulated run over Responses takes the script's turns, one after the other, and each is counted", async () => {
  const { output, closes } = await simulate();
  const input: object[] = [{ type: "message", role: "user", content: [{ type: "input_text", text: "Rewrite it" }] }];
  const asked: (string | undefined)[][] = [];
  let said = "";
  for (;;) {
    const items = await output({ input });
    const calls = items.filter((item) => item.type === "function_call");
    said = items.flatMap((item) => item.content?.map((part) => part.text) ?? []).join("");
    if (calls.length === 0) break;
    asked.push(calls.map((item) => item.name));
    const results = calls.map((item) => ({
      type: "function_call_output",
      call_id: item.call_id,
      output: item.name === "list_files" ? "README.md" : "Wrote 3 bytes to SIMULATED.md.",
    }));
    input.push(...items, ...results);
  }
  expect(asked).toEqual([["update_plan", "list_files"], ["write_file"], ["update_plan"]]);
  expect(said).toContain("This run was simulated");
  expect(said).toContain("I wrote SIMULATED.md and changed nothing else.");
  const inputs = closes().map((close) => close.inputTokens ?? 0);
  expect(inputs).toHaveLength(4);
  expect(inputs).toEqual(inputs.toSorted((a, b) => a - b));
  expect(closes().every((close) => close.ok && (close.outputTokens ?? 0) > 0)).toBe(true);
});

test("the same request gets the same answer, streamed or whole, and a stream adds up to it", async () => {
  const { ask, output } = await simulate();
  const timeless = (text: string): string => text.replaceAll(/"created_at":\d+/g, "");
  const body = { input: "Do it" };
  expect(timeless(await ask(body))).toBe(timeless(await ask(body)));
  const streamed = await ask({ ...body, stream: true });
  expect(timeless(streamed)).toBe(timeless(await ask({ ...body, stream: true })));
  const events = streamed
    .trimEnd()
    .split("\n\n")
    .map((frame) => JSON.parse(frame.split("\ndata: ")[1] ?? "") as { type: string; sequence_number: number; delta?: string; item?: Item });
  expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index));
  expect([events[0]?.type, events.at(-1)?.type]).toEqual(["response.created", "response.completed"]);
  const done = events.flatMap((event) => (event.type === "response.output_item.done" ? [event.item] : []));
  const kindsOf = (items: readonly (Item | undefined)[]) => items.map((item) => [item?.type, item?.name]);
  expect(kindsOf(done)).toEqual(kindsOf(await output(body)));
  const text = events.flatMap((event) => (event.type === "response.output_text.delta" ? [event.delta] : [])).join("");
  expect(text).toBe(done[0]?.content?.[0]?.text);
});

test("an agent without tools of these names gets an honest answer", async () => {
  const { output } = await simulate();
  const items = await output({ input: "Do it", tools: [{ type: "function", name: "exec_command" }, { type: "web_search" }] });
  expect(items).toHaveLength(1);
  expect(items[0]?.content?.[0]?.text).toContain("This run was simulated");
});

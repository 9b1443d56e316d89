// Agents that mean no good, or have lost their wits: their runs end as they should, and nobody else notices.
import type { CreateRunRequest } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { useLine } from "../src/testing/line.ts";
import { makeRepository, readLog } from "../src/testing/server.ts";

/** In the middle of its turn it does what its word says. */
const AGENT = `
import { createInterface } from "node:readline";
const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: "2.0", ...message }) + "\\n");
const say = (text) => send({ method: "session/update", params: { sessionId: "s", update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text } } } });
const pour = async (text, times) => {
  for (let n = 0; n < times; n += 1) if (!process.stdout.write(text)) await new Promise((resolve) => process.stdout.once("drain", resolve));
};
const ask = () => send({ id: "p", method: "session/request_permission", params: { sessionId: "s", toolCall: { toolCallId: "t", title: "rm", kind: "execute" }, options: [{ optionId: "a", name: "ok", kind: "allow_once" }] } });
const acts = {
  "asks and does not wait": async () => ask(),
  "writes blank lines": () => pour("\\n".repeat(1_000_000), 20),
  "writes lines of one letter": () => pour("x\\n".repeat(10_000), 10),
  "writes a line without an end": () => pour("x".repeat(1_000_000), 50).then(() => pour("\\n", 1)),
};
createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, method } = JSON.parse(line);
  if (method === "initialize") send({ id, result: { protocolVersion: 1 } });
  if (method === "session/new") send({ id, result: { sessionId: "s" } });
  if (method !== "session/prompt") return;
  await acts[process.argv[2]]();
  say("Done.");
  send({ id, result: { stopReason: "end_turn" } });
}).on("close", () => process.exit(0));
`;

describe.skipIf(!process.env["RUNYARD_TEST_FULL"])("an agent that", { timeout: 120_000 }, () => {
  const line = useLine({ flags: ["--unsafe-process"] });

  test.each(["writes blank lines", "writes lines of one letter", "writes a line without an end"])("%s comes to its end", async (act) => {
    const repository = makeRepository(line.home.root, { "agent.mjs": AGENT }, act.replaceAll(" ", "-"));
    const { id } = await line.client.runs.create({ task: "Go", repositoryUrl: repository, agent: { command: ["node", "agent.mjs", act] } });
    const run = await line.client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", error: null, attempt: 1, result: { summary: "Done." } });
  });

  test.each<[string, Partial<CreateRunRequest>, number]>([
    ["published", {}, 1],
    ["verified", { verify: [{ run: "true", kind: "test" }] }, 1],
    ["planned", { plan: true }, 2],
  ])("asks for a permission and does not wait for it has its work %s", async (what, more, asked) => {
    const repositoryUrl = makeRepository(line.home.root, { "agent.mjs": AGENT }, `asking-${what}`);
    const agent = { command: ["node", "agent.mjs", "asks and does not wait"] };
    const { id } = await line.client.runs.create({ task: "Go", repositoryUrl, agent, permissionPolicy: { ask: ["execute"] }, ...more });
    if (more.plan === true) {
      await expect.poll(async () => (await line.client.runs.get(id)).status, { timeout: 30_000 }).toBe("awaiting_plan");
      await line.client.runs.confirmPlan(id);
    }
    const run = await line.client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "completed", error: null, result: { summary: "Done." }, waitingFor: [] });
    const answers = (await readLog(line.client, id)).flatMap((event) => (event.type === "permission.resolved" ? [event.data] : []));
    expect(answers).toHaveLength(asked);
    expect(answers.at(-1)).toMatchObject({ decision: "cancelled", by: "policy" });
  });
});

/** Starts and says nothing, or talks without end, and opens no session; leaves something behind that knows how to hide. */
const MUTE = `
import { spawn } from "node:child_process";
spawn("sleep", ["86399"], { detached: true, stdio: "ignore" }).unref();
console.error("waiting for a license");
if (process.argv[2] === "talks") setInterval(() => console.log(JSON.stringify({ jsonrpc: "2.0", method: "session/update", params: { sessionId: "s", update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text: "so" } } } })), 20);
process.stdin.resume();
`;

describe.skipIf(!process.env["RUNYARD_TEST_FULL"])("an agent that opens no session", { timeout: 60_000 }, () => {
  const line = useLine({ env: { RUNYARD_AGENT_START_TIMEOUT: "1" } });

  test.each(["is silent", "talks"])("and %s is ended in time, with what it said", async (act) => {
    const repositoryUrl = makeRepository(line.home.root, { "agent.mjs": MUTE }, act.replaceAll(" ", "-"));
    const { id } = await line.client.runs.create({ task: "Go", repositoryUrl, agent: { command: ["node", "agent.mjs", act] } });
    const run = await line.client.runs.waitForEnd(id);
    expect(run).toMatchObject({ status: "failed", error: { type: "agent-error" } });
    expect(run.error?.message).toMatch(/no session within 1 s.*RUNYARD_AGENT_START_TIMEOUT.*waiting for a license/);
  });
});

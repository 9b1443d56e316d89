import type { RunyardClient } from "@runyard/sdk";
import type { RunEvent } from "@runyard/sdk/contract";

/** An agent that says a beat every 50 ms, ten of them, and until the file that it is told of is there; then it leaves a file of its own. */
export const BEATING_AGENT = `
import { existsSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
const send = (message) => console.log(JSON.stringify({ jsonrpc: "2.0", ...message }));
const say = (text) => send({ method: "session/update", params: { sessionId: "s", update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text } } } });
createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method } = JSON.parse(line);
  if (method === "initialize") send({ id, result: { protocolVersion: 1, agentCapabilities: {} } });
  if (method === "session/new") send({ id, result: { sessionId: "s" } });
  if (method !== "session/prompt") return;
  let beats = 0;
  const timer = setInterval(() => {
    say("beat ");
    if ((beats += 1) < 10 || !existsSync(process.argv[2])) return;
    clearInterval(timer);
    writeFileSync("result.txt", "done");
    send({ id, result: { stopReason: "end_turn" } });
  }, 50);
}).on("close", () => process.exit(0));
`;

/** The process of a run's agent in an attempt, once it has said something. */
export async function beatingAgentOf(client: RunyardClient, runId: string, attempt: number): Promise<number> {
  let pid = 0;
  let last = 0;
  const patience = AbortSignal.timeout(60_000);
  try {
    for await (const event of client.runs.events(runId, { signal: patience })) {
      const { type, data, attempt: of, seq } = event as RunEvent;
      last = seq;
      if (of > attempt) break;
      if (of !== attempt) continue;
      if (type === "agent.started") pid = data.pid ?? 0;
      if (type === "message.delta") return pid;
    }
  } catch (error) {
    if (!patience.aborted) throw error;
  }
  const { status, attempt: now, lastSeq, failedAttempts } = await client.runs.get(runId);
  const { runners } = await client.status();
  throw new Error(`attempt ${attempt} said nothing up to ${last}: ${JSON.stringify({ status, now, lastSeq, failedAttempts, runners })}`);
}

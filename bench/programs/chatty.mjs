// An agent that speaks ACP and has much to say. Use: node chatty.mjs <count> <milliseconds between>; 0: as fast as it can.
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const [count = 0, everyMs = 0] = process.argv.slice(2).map(Number);
const text = "What an agent plans in a piece of its work, long enough for an event of some two hundred bytes.";

/** @param {Record<string, unknown>} message */
const say = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
/** @param {Record<string, unknown>} body */
const update = (body) => say({ method: "session/update", params: { sessionId: "s1", update: body } });

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method } = JSON.parse(line);
  if (method === "initialize") say({ id, result: { protocolVersion: 1, agentCapabilities: {} } });
  else if (method === "session/new") say({ id, result: { sessionId: "s1" } });
  else if (method === "session/prompt") {
    const begunAt = performance.now();
    for (let n = 1; n <= count; n += 1) {
      const waitMs = begunAt + n * everyMs - performance.now();
      if (everyMs > 0 && waitMs > 0) await sleep(waitMs);
      // A plan is told at once, where words are held back for a moment to be told together.
      const entry = { content: `${n} ${text}`, status: "in_progress", priority: "high" };
      if (!update({ sessionUpdate: "plan", entries: [entry] })) await once(process.stdout, "drain");
    }
    update({ sessionUpdate: "agent_message_chunk", content: { type: "text", text: "ok" } });
    say({ id, result: { stopReason: "end_turn" } });
  }
}

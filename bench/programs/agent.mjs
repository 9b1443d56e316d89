// The least agent that speaks ACP, in Node: what `agent.sh` does, and nothing else.
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

/** @param {Record<string, unknown>} message */
const say = (message) => void process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);

const session = process.argv[2];
createInterface({ input: session === undefined ? process.stdin : createReadStream(session) }).on("line", (line) => {
  const { id, method } = JSON.parse(line);
  if (method === "initialize") say({ id, result: { protocolVersion: 1, agentCapabilities: {} } });
  else if (method === "session/new") say({ id, result: { sessionId: "s1" } });
  else if (method === "session/prompt" && !line.includes("wait")) {
    const update = { sessionUpdate: "agent_message_chunk", content: { type: "text", text: "ok" } };
    say({ method: "session/update", params: { sessionId: "s1", update } });
    say({ id, result: { stopReason: "end_turn" } });
  }
});

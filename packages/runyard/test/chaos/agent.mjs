// An ACP agent that counts: numbered pieces of a message, permissions in between (sometimes two open at
// once), lines that are cut, garbage, kinds of update that nobody knows. It writes down everything that
// it received in `audit.ndjson` of its workspace, so that the branch of the run tells what reached it.
// The prompt is JSON: {updates, every, mode}.
import { appendFileSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const audit = (entry) => appendFileSync("audit.ndjson", `${JSON.stringify(entry)}\n`);
audit({ boot: process.pid });

function write(text) {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSync(1, bytes, done);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}
const send = (message) => write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
const update = (content) => ({ method: "session/update", params: { sessionId: "s1", update: content } });
const piece = (text) => update({ sessionUpdate: "agent_message_chunk", content: { type: "text", text } });

let nextRequest = 0;
const waiting = new Map();

function askPermission() {
  const id = nextRequest++;
  const answered = new Promise((resolve) => waiting.set(id, resolve));
  const options = [
    { optionId: "yes", kind: "allow_once", name: "Yes" },
    { optionId: "no", kind: "reject_once", name: "No" },
  ];
  // A person decides about edits, the policy about commands.
  const toolCall = { toolCallId: `t${id}`, kind: id % 2 ? "edit" : "execute", title: `call ${id}` };
  send({ id, method: "session/request_permission", params: { sessionId: "s1", toolCall, options } });
  return answered;
}

const GARBAGE = ["npm warn something\n", "\n", '{"jsonrpc":"2.0","method":\n', '{"a":1}\n', "null\n", "[]\n"];

async function turn(id, { updates, every, mode }) {
  let open = [];
  for (let i = 0; i < updates; i++) {
    const line = `${JSON.stringify({ jsonrpc: "2.0", ...piece(`${i}\n`) })}\n`;
    if (mode.includes("partial") && i % 37 === 11) {
      const cut = 1 + (i % (line.length - 1));
      write(line.slice(0, cut));
      await sleep((i % 7) * 3);
      write(line.slice(cut));
    } else write(line);
    if (mode.includes("garbage") && i % 53 === 9) write(GARBAGE[Math.floor(i / 53) % GARBAGE.length]);
    if (mode.includes("unknown") && i % 61 === 5) send(update({ sessionUpdate: "from_the_future", i }));
    if (i % every === every - 1) {
      open.push(askPermission());
      if (nextRequest % 3 !== 2) {
        await Promise.all(open);
        open = [];
      }
    }
    if (i % 10 === 0) await sleep(4);
  }
  await Promise.all(open);
  send({ id, result: { stopReason: "end_turn" } });
}

function receive(message) {
  if (message.method === "initialize") {
    audit({ initialize: message.id });
    send({ id: message.id, result: { protocolVersion: 1, agentCapabilities: {} } });
  } else if (message.method === "session/new") {
    audit({ session: message.id });
    send({ id: message.id, result: { sessionId: "s1" } });
  } else if (message.method === "session/prompt") {
    audit({ prompt: message.id });
    void turn(message.id, JSON.parse(message.params.prompt[0].text));
  } else if (message.id !== undefined && message.result?.outcome) {
    const resolve = waiting.get(message.id);
    waiting.delete(message.id);
    audit(resolve ? { answered: message.id, option: message.result.outcome.optionId } : { twice: message.id });
    resolve?.();
  } else audit({ unknown: JSON.stringify(message).slice(0, 200) });
}

let rest = Buffer.alloc(0);
process.stdin.on("data", (chunk) => {
  const bytes = Buffer.concat([rest, chunk]);
  const end = bytes.lastIndexOf(10);
  rest = bytes.subarray(end + 1);
  for (const line of bytes.subarray(0, Math.max(0, end)).toString().split("\n").filter(Boolean)) {
    let message;
    try {
      message = JSON.parse(line);
    } catch {
      audit({ garbled: line.slice(0, 200) });
      continue;
    }
    receive(message);
  }
});
process.stdin.on("end", () => process.exit(0));

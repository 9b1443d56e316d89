import { ndJsonStream } from "@agentclientprotocol/sdk";
import { Console } from "node:console";
import { homedir } from "node:os";
import { Readable } from "node:stream";
import { builtinAgent } from "./agent.ts";
import { killAllGroups } from "./tools/process-groups.ts";

// Standard output belongs to the protocol: whatever else wants to print there goes to standard error.
const writeOut = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr);
globalThis.console = new Console(process.stderr, process.stderr);

process.on("exit", killAllGroups);
for (const [signal, code] of [
  ["SIGHUP", 129],
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  process.on(signal, () => process.exit(code));
}
// Nobody reads any more.
process.stdout.on("error", () => process.exit(1));

const output = new WritableStream<Uint8Array>({
  write: (chunk) => new Promise((resolve, reject) => void writeOut(chunk, (error) => (error ? reject(error) : resolve()))),
});
const input = Readable.toWeb(process.stdin) as ReadableStream<Uint8Array>;
const connection = builtinAgent({
  env: process.env,
  home: process.env["HOME"] || homedir(),
  log: (text) => console.error(text),
}).connect(ndJsonStream(output, input));

void connection.closed.then(() => process.exit(0));

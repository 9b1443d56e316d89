import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { startGateway } from "./gateway.ts";

/**
 * The gateway's process: `node gateway.mjs <gatewayDir> <doorDir> <controlSocket>`. It starts without a
 * name: whoever started it tells it provider and runs at `<controlSocket>.<pid>` and lets it take the
 * gateway's place.
 */
const [gatewayDir, doorDir, controlSocket] = process.argv.slice(2);
if (gatewayDir === undefined || doorDir === undefined || controlSocket === undefined) {
  console.error("Usage: gateway <gatewayDir> <doorDir> <controlSocket>. Runyard's server starts it; there is no need to do so by hand.");
  process.exit(2);
}
// Whatever this process makes is for its user only.
process.umask(0o077);
for (const dir of [gatewayDir, doorDir, path.dirname(controlSocket)]) mkdirSync(dir, { recursive: true });

const program = process.argv[1] ?? "";
const gateway = await startGateway({
  gatewayDir,
  doorDir,
  controlSocket,
  programHash: createHash("sha256").update(readFileSync(program)).digest("hex"),
  tag: randomBytes(4).toString("hex"),
  exit: (code) => process.exit(code),
  log: (message) => console.error(`${new Date().toISOString()} [${process.pid}] ${message}`),
});
process.on("SIGTERM", () => gateway.leave("it was told to leave"));
process.on("SIGINT", () => gateway.leave("it was told to leave"));

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const BOOTSTRAP = fileURLToPath(new URL("../bootstrap.mjs", import.meta.url));

/** Where a difference between versions of Node.js would show: pure rules, HTTP both ways, streams, processes. */
const FILES = ["packages/sdk", ...["core", "api", "gateway", "agents", "runtime"].map((room) => `packages/runyard/src/${room}`)];

test.skipIf(!full)(
  full ? "the oldest Node.js and the newer lines run the tests and the demo" : "other lines of Node.js (npm run test:full)",
  async () => {
    const child = spawn(process.execPath, [BOOTSTRAP, "test-matrix", ...FILES, "--maxWorkers=1"], { stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
    child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    const lines = stdout.split("\n").filter((line) => /^v\S+ +[1-9]\d* passed, 0 failed, \d+ skipped +ok$/.test(line));
    expect(lines.map((line) => /^v(20\.19\.0|\d+)/.exec(line)?.[1])).toEqual(["20.19.0", "22", "24"]);
  },
  2_400_000,
);

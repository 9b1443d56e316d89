// Measures Runyard as it ships beside the least programs that do the same work, in turns, and prints the ratios.
// Use: npm run bench -- [name …] [--rounds 5] [--quick] [--write]
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findPackage } from "../packages/runyard/src/store/postgres/programs.ts";
import { benchAgents } from "./agents.ts";
import { benchCancel } from "./cancel.ts";
import { benchCold } from "./cold.ts";
import { benchCreate } from "./create.ts";
import { benchDocker } from "./docker.ts";
import { benchFanout } from "./fanout.ts";
import { benchFeed } from "./feed.ts";
import { benchIdle } from "./idle.ts";
import { benchGateway } from "./gateway.ts";
import type { Bench } from "./lib/bench.ts";
import { closeHomes } from "./lib/home.ts";
import { installBuilt } from "./lib/installation.ts";
import { loadNow, machineFacts } from "./lib/machine.ts";
import { markdownTable, plainTable, type Row } from "./lib/report.ts";
import { benchMany } from "./many.ts";
import { benchMemory } from "./memory.ts";
import { benchRead } from "./read.ts";
import { benchSandbox } from "./sandbox.ts";
import { benchStart } from "./start.ts";
import { benchStore } from "./store.ts";
import { benchWorkspace } from "./workspace.ts";

const BENCHES: Readonly<Record<string, Bench>> = {
  start: benchStart,
  cold: benchCold,
  idle: benchIdle,
  many: benchMany,
  feed: benchFeed,
  create: benchCreate,
  store: benchStore,
  read: benchRead,
  fanout: benchFanout,
  memory: benchMemory,
  cancel: benchCancel,
  docker: benchDocker,
  agents: benchAgents,
  gateway: benchGateway,
  sandbox: benchSandbox,
  workspace: benchWorkspace,
};
const README = fileURLToPath(new URL("./README.md", import.meta.url));
const MARKERS = ["<!-- figures begin -->", "<!-- figures end -->"] as const;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    quick: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
  },
});
const unknown = positionals.filter((name) => !Object.hasOwn(BENCHES, name));
if (unknown.length > 0) {
  process.stderr.write(`There is no bench "${unknown.join('", "')}". Benches: ${Object.keys(BENCHES).join(", ")}.\n`);
  process.exit(2);
}

const loadBefore = loadNow();
const dir = mkdtempSync(path.join(tmpdir(), "runyard-bench-built-"));
const say = (message: string): void => void process.stderr.write(`${message}\n`);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => void leave());
try {
  say("Building what is measured");
  const program = await installBuilt(dir);
  const rows: Row[] = [];
  for (const [name, bench] of Object.entries(BENCHES)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    const begunAt = performance.now();
    rows.push(
      ...(await bench({
        program,
        rounds: values.quick ? 1 : Number(values.rounds),
        count: (full) => (values.quick ? Math.ceil(full / 20) : full),
        say,
      })),
    );
    say(`${name}: ${Math.round((performance.now() - begunAt) / 1000)} s`);
  }
  const facts = machineFacts({ postgres: /^\d+\.\d+/.exec(findPackage().version)?.[0] ?? "unknown", loadBefore });
  process.stdout.write(`${plainTable(rows)}\n\n${facts}\n`);
  if (values.write) writeFigures(rows, facts);
} finally {
  rmSync(dir, { recursive: true, force: true });
}

/** Ends what was started, also in the middle of a bench. */
async function leave(): Promise<never> {
  await closeHomes();
  rmSync(dir, { recursive: true, force: true });
  process.exit(130);
}

/** Puts the table between the markers. Lines of benches that did not run this time stay, each bench at its place. */
function writeFigures(rows: readonly Row[], facts: string): void {
  const [begin, end] = MARKERS;
  const text = readFileSync(README, "utf8");
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`bench/README.md lacks the lines ${begin} and ${end}`);
  const ran = new Set(rows.map((row) => row.bench));
  const [head = "", rule = "", ...lines] = markdownTable(rows).split("\n");
  const kept = text.slice(from, to).split("\n");
  const all = Object.keys(BENCHES).flatMap((name) => (ran.has(name) ? lines : kept).filter((line) => line.startsWith(`| ${name} |`)));
  writeFileSync(README, `${text.slice(0, from + begin.length)}\n${facts}\n\n${[head, rule, ...all].join("\n")}\n${text.slice(to)}`);
}

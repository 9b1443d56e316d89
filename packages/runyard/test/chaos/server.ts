// The product's server with an accident built in: it kills itself at the n-th pass of a chosen point,
// and can break one of the rules that the log's exactness rests on, so that a check can be seen to fail.
// Use: RUNYARD_HOME=… CHAOS_PACKAGE=… CHAOS_KILL=point:n CHAOS_BREAK=append|cursor node … server.ts
import fs from "node:fs";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import type pgModule from "pg";
import type * as homeModule from "../../src/home.ts";
import type * as mainModule from "../../src/main.ts";
import type * as journalModule from "../../src/sandbox/journal.ts";

/** A module of the published package: compiled, a server is there in a third of the time. */
async function published<T>(name: string): Promise<T> {
  return (await import(`${process.env["CHAOS_PACKAGE"]}/dist/${name}.js`)) as T;
}
const { homeAt } = await published<typeof homeModule>("home");
const { startServer } = await published<typeof mainModule>("main");
const { InWriter, OutReader } = await published<typeof journalModule>("sandbox/journal");
const pg = createRequire(`${process.env["CHAOS_PACKAGE"]}/package.json`)("pg") as typeof pgModule;
type InWriter = (typeof InWriter)["prototype"];

const [killPoint, killCount] = (process.env["CHAOS_KILL"] ?? "never:0").split(":");
const broken = process.env["CHAOS_BREAK"];
let passes = 0;
const die = (): void => void process.kill(process.pid, "SIGKILL");
const isDue = (point: string): boolean => point === killPoint && ++passes === Number(killCount);
const passing = (point: string): void => {
  if (isDue(point)) die();
};

// The journals: between a line's place in the store and its bytes in the file, in the middle of its bytes, behind them.
const { write, ring } = InWriter.prototype;
const dirs = new WeakMap<InWriter, string>();
const open = InWriter.open.bind(InWriter);
InWriter.open = (dir) => {
  const writer = open(dir);
  if (writer !== null) dirs.set(writer, dir);
  return writer;
};
InWriter.prototype.write = function (bytes, offset) {
  passing("after-assign");
  const whole = Buffer.from(bytes as string);
  if (isDue("mid-write")) {
    write.call(this, whole.subarray(0, whole.length >> 1), offset);
    if (passes % 2) ring.call(this);
    die();
  }
  if (broken === "append") fs.appendFileSync(`${dirs.get(this)}/in`, whole);
  else write.call(this, bytes, offset);
  passing("after-write");
};
InWriter.prototype.ring = function () {
  ring.call(this);
  passing("after-ring");
};
const { read } = OutReader.prototype;
OutReader.prototype.read = function () {
  const got = read.call(this);
  if (got.lines.length > 0) passing("after-read");
  return got;
};

// The spawner's door: before and after a start is asked for.
const { openSync, writeSync } = fs;
fs.openSync = ((file: fs.PathLike, ...rest: [fs.OpenMode?, fs.Mode?]) => {
  if (String(file).endsWith("/spawner/door")) passing("before-start");
  return openSync(file, rest[0] ?? "r", rest[1]);
}) as typeof fs.openSync;
fs.writeSync = ((...args: Parameters<typeof writeSync>) => {
  const written = writeSync(...args);
  if (typeof args[1] === "string" && /\/steps\/.*\n$/.test(args[1])) passing("after-start");
  return written;
}) as typeof fs.writeSync;
syncBuiltinESMExports();

// The store: while a commit is under way, and just behind it.
type Query = (config: { text?: string; values?: unknown[] }, ...rest: unknown[]) => Promise<unknown>;
const prototype = pg.Client.prototype as unknown as { query: Query };
const { query } = prototype;
prototype.query = function (this: pgModule.Client, config, ...rest) {
  const text = typeof config === "string" ? config : (config?.text ?? "");
  if (text.includes("pg_try_advisory_lock") && process.env["CHAOS_NO_LOCK"]) return Promise.resolve({ rows: [{ got: true }] });
  // A call, and not the migration that makes the function.
  const name = /^select \* from runyard\.(commit_step|answer_request|claim_run|cancel_run)\(/.exec(text)?.[1];
  if (name === undefined) return query.call(this, config, ...rest);
  const first = broken === "cursor" && name === "commit_step" ? splitCommit.call(this, config, rest) : query.call(this, config, ...rest);
  if (isDue(`${name}-sent`)) void sleep(3).then(die);
  if (typeof (first as Promise<unknown> | undefined)?.then === "function") return first.then((value) => (passing(`${name}-done`), value));
  return first;
};

/** The broken rule "cursor apart from events": what one commit should do, in two. */
async function splitCommit(this: pgModule.Client, config: { text?: string; values?: unknown[] }, rest: unknown[]): Promise<unknown> {
  const values = [...(config.values ?? [])];
  const events = await query.call(this, { ...config, values: values.with(4, values[3]) }, ...rest);
  passing("between");
  await query.call(this, { text: "begin" });
  await query.call(this, { text: "select set_config('runyard.org', $1, true)", values: [values[22]] });
  await query.call(this, { text: "update runyard.runs set out_cursor = $2 where id = $1", values: [values[0], values[4]] });
  await query.call(this, { text: "commit" });
  const rows = (events as { rows: { out_cursor: number }[] }).rows;
  if (rows[0]) rows[0].out_cursor = values[4] as number;
  return events;
}

const server = await startServer({
  home: homeAt(process.env["RUNYARD_HOME"] ?? ""),
  host: "127.0.0.1",
  port: 0,
  simulate: false,
  defaultDriver: "process",
  dockerImage: null,
  maxRuns: 10,
  databaseUrl: null,
  providers: [],
  loginWays: {},
  allowedHosts: [],
  role: "all",
  secretsKey: null,
  timings: { leaseMs: 15_000, pollMs: 1_000 },
  egressNetworks: [],
  repositoryHosts: [],
  agentStartMs: 300_000,
  memoryBudgetBytes: 64 * 1024 ** 3,
  extraCertificates: null,
  toolchains: [],
  retention: { workspaceMs: null, recordingMs: null, snapshotMs: null, diskBytes: null },
});
process.stdout.write(`${JSON.stringify({ url: server.url })}\n`);
process.once("SIGTERM", () => void server.stop().then(() => process.exit(0)));

// Kills the server again and again, at random and at chosen points, while agents work and people answer,
// and checks that nothing is lost or doubled: every accepted run ends, its log has no gap and no double,
// each agent ran once and heard every answer once, the result is in the repository.
// Use: npm run chaos -- [--kills 1000] [--seed 1] [--others] [--break append|cursor]. With --others the
// database, the spawner and the gateway are killed too, under a living server. Exit 0: exact; 1: a difference.
import { execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { RunyardClient } from "@runyard/sdk";
import { transform } from "esbuild";
import { controlClient } from "../../src/gateway/control-client.ts";
import { homeAt } from "../../src/home.ts";
import { endLeftRuns, stopHost } from "../../src/main.ts";
import { publishedPackages } from "../../src/testing/published.ts";
import { checkRun, type Totals, type Trial } from "./check.ts";

const POINTS = [
  "before-start after-start after-assign mid-write after-write after-ring after-read",
  "commit_step-sent commit_step-done answer_request-sent answer_request-done claim_run-sent claim_run-done",
].flatMap((words) => words.split(" "));
const AGENT = fileURLToPath(new URL("./agent.mjs", import.meta.url));
const SERVER = fileURLToPath(new URL("./server.ts", import.meta.url));
const packageDir = path.join(await publishedPackages(), "runyard");
/** A life that has nothing left to do is over when its runs have ended; this is when it is given up. */
const LAST_LIFE_MS = 120_000;

const { values: args } = parseArgs({
  options: {
    kills: { type: "string", default: "1000" },
    seed: { type: "string", default: "1" },
    others: { type: "boolean", default: false },
    break: { type: "string" },
  },
});
const wantedKills = Number(args.kills);
/** What is done in two steps there would be caught by luck alone on a fast machine. */
const points = args.break === "cursor" ? [...POINTS, "between"] : POINTS;
let seed = Number(args.seed);
const random = (): number => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff) / 0x7fffffff;
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;

const base = fs.mkdtempSync(path.join(os.tmpdir(), "runyard-chaos-"));
const home = homeAt(path.join(base, "home"));
const repository = path.join(base, "repository");
/** Plain JavaScript, because what loads TypeScript takes longer than a server to be there. */
const server = path.join(base, "server.mjs");
const bad: string[] = [];
const totals: Totals = { runs: 0, updates: 0, permissions: 0, events: 0 };
const killsAt: Record<string, number> = {};
const readyMs: number[] = [];
let kills = 0;
let sleepers = 0;
/** A stopped server that has not been woken up yet: the next one has to have taken over first. */
let asleep: Life | null = null;

/** The server that people talk to at the moment; its address changes with every life. */
let url: string | null = null;
const client = (): RunyardClient =>
  new RunyardClient({ baseUrl: url ?? "http://127.0.0.1:9", token: fs.readFileSync(home.adminTokenFile, "utf8").trim(), maxRetries: 0 });

function makeRepository(): void {
  fs.mkdirSync(repository);
  fs.copyFileSync(AGENT, path.join(repository, "agent.mjs"));
  const git = (...words: string[]): void => void execFileSync("git", ["-C", repository, ...words]);
  git("init", "--quiet", "--initial-branch=main");
  git("add", "--all");
  git("-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "--quiet", "--message", "The agent");
}

interface Life {
  readonly ready: Promise<string | null>;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  kill(signal: NodeJS.Signals): void;
  errors(): string;
}

function startLife(point: string | null): Life {
  const env = {
    ...process.env,
    RUNYARD_HOME: home.root,
    CHAOS_PACKAGE: packageDir,
    CHAOS_NO_LOCK: "1",
    CHAOS_BREAK: args.break ?? "",
    CHAOS_KILL: point ?? "",
  };
  const started = performance.now();
  const child = spawn(process.execPath, [server], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let errors = "";
  child.stderr.on("data", (data: Buffer) => (errors = (errors + data.toString()).slice(-2_000)));
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) =>
    child.once("close", (code, signal) => resolve({ code, signal })),
  );
  const ready = new Promise<string | null>((resolve) => {
    createInterface({ input: child.stdout }).once("line", (line) => {
      readyMs.push(performance.now() - started);
      url = (JSON.parse(line) as { url: string }).url;
      resolve(url);
    });
    void ended.then(() => resolve(null));
  });
  return { ready, ended, kill: (signal) => void child.kill(signal), errors: () => errors };
}

/** Creates the runs of a round; a create that was not acknowledged is looked for before it is tried again. */
async function createRuns(round: number, trials: Trial[]): Promise<void> {
  const modes = ["partial garbage unknown", "partial", "garbage unknown"];
  for (let i = 0; i < modes.length; i++) {
    const prompt = { updates: 240, every: 24, mode: modes[i] as string, round, i };
    const task = JSON.stringify(prompt);
    for (let id: string | null = null; id === null; await sleep(20)) {
      try {
        id = await findRun(task);
        id ??= (
          await client().runs.create({
            task,
            repositoryUrl: repository,
            agent: { command: [process.execPath, "agent.mjs"] },
            permissionPolicy: { ask: ["edit"], deny: [] },
            settings: { sandboxDriver: i === 2 ? "bwrap" : "process" },
          })
        ).id;
        const trial: Trial = { id, prompt, seen: [] };
        trials.push(trial);
        void follow(trial);
      } catch {
        // No server, or it died before it answered: ask again.
      }
    }
  }
}

async function findRun(task: string): Promise<string | null> {
  const page = await client().runs.list({ limit: 20 });
  return page.data.find((run) => run.task === task)?.id ?? null;
}

const following = new Set<Promise<void>>();

/** Reads a run's log as a person's browser would: cut with every server, resumed behind what was seen. */
function follow(trial: Trial): Promise<void> {
  const reading = (async () => {
    for (let done = false; !done && bad.length === 0; await sleep(10)) {
      try {
        for await (const event of client().runs.events(trial.id, {
          after: trial.seen.at(-1)?.seq ?? 0,
          signal: AbortSignal.timeout(3_000),
        })) {
          trial.seen.push(event);
          if (event.type === "run.completed" || event.type === "run.failed") done = true;
        }
      } catch {
        // The server is away.
      }
    }
  })();
  following.add(reading);
  return reading.finally(() => following.delete(reading));
}

/** People: every open request is answered, twice at the same moment, with either word. */
async function answerRequests(stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    try {
      const now = client();
      const page = await now.runs.list({ status: "awaiting_input", limit: 20 });
      for (const run of page.data) {
        for (const request of run.waitingFor) {
          const decide = (): Promise<unknown> =>
            now.runs.answerPermission(run.id, request.id, random() < 0.7 ? "allow" : "deny").catch(() => undefined);
          await Promise.all([decide(), decide()]);
        }
      }
    } catch {
      // The server is away.
    }
    await sleep(15);
  }
}

/** One life of the server while runs are under way. */
async function liveAndDie(): Promise<void> {
  const afterSleeper = asleep !== null;
  const point = !afterSleeper && random() < 0.55 ? pick(points) : null;
  const life = startLife(point === null ? null : `${point}:${1 + Math.floor(random() * random() * 12)}`);
  if (afterSleeper) {
    await life.ready;
    wakeSleeper();
    await Promise.race([life.ended, sleep(SLEEPER_MS)]);
  } else if (point === null && random() < 0.25) await Promise.race([life.ended, sleep(random() * 900)]);
  else {
    await life.ready;
    if (args.others && random() < 0.5) await killAnother();
    await Promise.race([life.ended, sleep(point === null ? random() * 450 : 900)]);
  }
  if (point === null && !afterSleeper && random() < 0.12) return sleepThrough(life);
  life.kill("SIGKILL");
  const { code, signal } = await life.ended;
  if (signal === "SIGKILL") {
    kills += 1;
    const name = point ?? "random";
    killsAt[name] = (killsAt[name] ?? 0) + 1;
  } else bad.push(`a server ended by itself (${code ?? signal}): ${life.errors()}`);
}

/** Kills what the server stands on; it may go on without for a while, or die before it has brought it back. */
async function killAnother(): Promise<void> {
  const firstNumber = (file: string): number => Number(/^\d+/.exec(fs.readFileSync(file, "utf8"))?.[0]);
  const others: Record<string, () => number | Promise<number>> = {
    postgres: () => firstNumber(path.join(home.postgresDir, "data", "postmaster.pid")),
    spawner: () => firstNumber(path.join(home.spawnerDir, "pid")),
    gateway: async () => (await controlClient(home.gatewayControlSocket).health()).pid,
  };
  const name = pick(Object.keys(others));
  try {
    const pid = (await others[name]?.()) ?? 0;
    if (pid > 1) process.kill(pid, "SIGKILL");
    killsAt[name] = (killsAt[name] ?? 0) + 1;
  } catch {
    // It is dead from the time before, and nobody has brought it back yet.
  }
  await sleep(random() * 1_500);
}

/** How long a server that was woken up may do harm, and the next one, which is at work then, lives on. */
const SLEEPER_MS = 2_500;

/** A server that is stopped, replaced, and wakes up later must do no harm: the next one has taken its runs over. */
function sleepThrough(life: Life): void {
  kills += 1;
  sleepers += 1;
  asleep = life;
  url = null; // it would take what is asked of it, and not answer
  life.kill("SIGSTOP");
}

function wakeSleeper(): void {
  const life = asleep;
  if (life === null) return;
  asleep = null;
  void sleep(random() * 300).then(() => life.kill("SIGCONT"));
  void sleep(SLEEPER_MS).then(() => life.kill("SIGKILL"));
}

async function playRound(round: number): Promise<void> {
  const trials: Trial[] = [];
  const people = new AbortController();
  const answering = answerRequests(people.signal);
  const creating = createRuns(round, trials);
  const isOver = async (): Promise<boolean> => {
    if (trials.length < 3) return false;
    const ended = await Promise.all(
      trials.map((trial) =>
        client()
          .runs.get(trial.id)
          .then(
            (run) => run.finishedAt !== null,
            () => false,
          ),
      ),
    );
    return ended.every(Boolean);
  };
  while (kills < wantedKills && bad.length === 0 && !(await isOver())) await liveAndDie();
  const last = startLife(null);
  await last.ready;
  wakeSleeper();
  await sleep(SLEEPER_MS * Math.min(1, sleepers)); // it has ended by then
  await creating;
  for (const giveUpAt = Date.now() + LAST_LIFE_MS; !(await isOver()); await sleep(50)) {
    if (Date.now() > giveUpAt) {
      bad.push(
        `round ${round}: a run does not end: ${JSON.stringify((await client().runs.list({ limit: 3 })).data.map((run) => [run.id, run.status, run.phase]))}`,
      );
      break;
    }
  }
  if (bad.length === 0) await Promise.race([Promise.all(following), sleep(10_000)]);
  for (const trial of trials) bad.push(...(await checkRun(client(), { trial, home: home.root, repository, totals })));
  const runs = await client().runs.list({ limit: 10 });
  const doubles = trials.filter((trial) => runs.data.filter((run) => run.task === JSON.stringify(trial.prompt)).length !== 1);
  if (doubles.length > 0) bad.push(`round ${round}: a create was carried out twice`);
  people.abort();
  await answering;
  last.kill("SIGKILL");
  await last.ended;
}

makeRepository();
const { code } = await transform(fs.readFileSync(SERVER, "utf8"), { loader: "ts" });
fs.writeFileSync(server, code);
const startedAt = Date.now();
try {
  // The first life makes the database; nothing is killed in it.
  const first = startLife(null);
  if ((await first.ready) === null) throw new Error(`The server did not start: ${first.errors()}`);
  first.kill("SIGKILL");
  await first.ended;
  for (let round = 1; kills < wantedKills && bad.length === 0; round++) {
    await playRound(round);
    process.stderr.write(
      `round ${round}: ${kills} kills, ${totals.runs} runs, ${totals.updates} updates, ${totals.permissions} permissions, ${bad.length} differences\n`,
    );
  }
} finally {
  await endLeftRuns(home);
  await stopHost(home);
}
readyMs.sort((a, b) => a - b);
const ready = { p50: Math.round(readyMs[readyMs.length >> 1] ?? 0), p95: Math.round(readyMs[Math.floor(readyMs.length * 0.95)] ?? 0) };
for (const difference of bad.slice(0, 8)) process.stderr.write(`DIFFERENCE ${difference}\n`);
process.stdout.write(
  `${JSON.stringify({ kills, killsAt, sleepers, ...totals, differences: bad.length, readyMs: ready, seconds: Math.round((Date.now() - startedAt) / 1000), seed: Number(args.seed) })}\n`,
);
if (bad.length === 0) fs.rmSync(base, { recursive: true, force: true });
else process.stderr.write(`Everything is kept in ${base}\n`);
process.exit(bad.length === 0 ? 0 : 1);

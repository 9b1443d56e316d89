import { execFile, spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { RunyardClient } from "@runyard/sdk";
import type { Run } from "@runyard/sdk/contract";
import { command, GROUP, jsonOption } from "./commands.ts";
import { CliError } from "./exit-codes.ts";
import { exitCodeOf, followRun } from "./follow.ts";
import { paintFor, printJson, say, shellWord } from "./output.ts";
import { renderPatchLine } from "./render-patch.ts";
import { proseWidthOf } from "./screen.ts";
import { wrapBehind } from "./text.ts";

const PROGRAM = fileURLToPath(new URL("../../bin/runyard.mjs", import.meta.url));
const SAMPLE = fileURLToPath(new URL("../../assets/demo-repository", import.meta.url));
const TASK = "The test suite fails. Find the bug, fix it, and show that the tests pass.";

const run = promisify(execFile);

export const demo = command("demo", {
  summary: "Show Runyard at work on a sample (no AI, no key)",
  group: GROUP.server,
  more: `The demo uses a home and a port of its own and leaves nothing running. A scripted model plays the AI. The sample repository stays, so that you can look at the result.`,
  examples: ["runyard demo", "runyard demo --unsafe-process"],
})
  .option("--unsafe-process", "run the agent WITHOUT isolation, where bwrap cannot be had")
  .addOption(jsonOption())
  .action(async (options: { unsafeProcess?: boolean; json?: boolean }) => {
    const paint = paintFor(process.stderr);
    const base = mkdtempSync(path.join(tmpdir(), "runyard-demo-"));
    const home = path.join(base, "home");
    const repository = path.join(base, "slug");
    const flags = options.unsafeProcess === true ? ["--unsafe-process"] : [];
    say(paint("bold", "Runyard demo: one task becomes one change"));
    tell(paint("dim", "A scripted model plays the AI, so this needs no key. Everything else is real: sandbox, gateway, database, git."));
    say();
    const server = await (async () => {
      await makeSampleRepository(repository);
      return startOwnServer(home, flags);
    })().catch((error: unknown) => {
      rmSync(base, { recursive: true, force: true });
      throw error;
    });
    try {
      const client = new RunyardClient({ baseUrl: server.url, token: server.token });
      const created = await client.runs.create({ task: TASK, repositoryUrl: repository, permissionPolicy: { ask: [], deny: [] } });
      const ended = await followRun(client, created, { json: false, ndjson: false, verbose: false, hints: false });
      await showProof(client, ended);
      say();
      if (ended.status === "completed")
        tell(
          `${paint(["bold", "green"], "The demo worked.")} Connect a model and use it on your own repository: see README.md, or \`runyard up --help\`.`,
        );
      if (options.json === true) printJson(ended);
      process.exitCode ??= exitCodeOf(ended);
    } finally {
      await server.stop();
      rmSync(home, { recursive: true, force: true });
    }
  });

/** A sentence, broken between words to fit. */
function tell(text: string): void {
  say(wrapBehind("", text, proseWidthOf(process.stderr)));
}

async function makeSampleRepository(repository: string): Promise<void> {
  cpSync(SAMPLE, repository, { recursive: true });
  const identity = ["-c", "user.name=Runyard demo", "-c", "user.email=demo@runyard.invalid", "-c", "commit.gpgsign=false"];
  await run("git", ["init", "--quiet", "--initial-branch=main", repository]);
  await run("git", ["-C", repository, "add", "--all"]);
  await run("git", [
    "-C",
    repository,
    ...identity,
    "commit",
    "--quiet",
    "--no-verify",
    "--message",
    "A sample project with a failing test",
  ]);
}

/** A server in a process of its own, as people run it: its pid is not the demo's. */
async function startOwnServer(home: string, flags: readonly string[]): Promise<{ url: string; token: string; stop(): Promise<void> }> {
  const child = spawn(process.execPath, [PROGRAM, "up", "--port", "0", "--simulate", "--json", ...flags], {
    env: { ...process.env, RUNYARD_HOME: home, DATABASE_URL: "" },
    stdio: ["ignore", "pipe", "pipe"],
    // Ctrl-C at the terminal is for the demo, which then ends its server itself.
    detached: true,
  });
  const complaints: string[] = [];
  const errors = createInterface({ input: child.stderr });
  errors.on("line", (line) => void complaints.push(line));
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const ready = await new Promise<{ url: string; tokenFile: string } | null>((resolve) => {
    createInterface({ input: child.stdout }).once("line", (line) => resolve(JSON.parse(line) as { url: string; tokenFile: string }));
    void exited.then(() => resolve(null));
  });
  if (ready === null) throw new CliError(`The demo's server did not start. It said:\n${complaints.join("\n")}`);
  return {
    url: ready.url,
    token: readFileSync(ready.tokenFile, "utf8").trim(),
    async stop() {
      child.kill("SIGTERM");
      await exited;
    },
  };
}

/** The diff, and the exit codes of the tests as the sandbox saw them before and after. */
async function showProof(client: RunyardClient, ended: Run): Promise<void> {
  const paint = paintFor(process.stderr);
  const exits: { title: string; exitCode: number }[] = [];
  for await (const event of client.runs.events(ended.id)) {
    if (event.type !== "tool.finished") continue;
    const { kind, exitCode, title } = event.data as { kind: string; exitCode: number | null; title: string };
    if (kind === "execute" && exitCode !== null) exits.push({ title, exitCode });
  }
  const patch = await client.runs.patch(ended.id);
  say(`\n${paint("bold", "What changed")}`);
  // Names of blobs are for programs.
  const lines = patch
    .trimEnd()
    .split("\n")
    .filter((line) => !line.startsWith("index "));
  for (const line of lines) say(`  ${renderPatchLine(line, paint)}`);
  say(`\n${paint("bold", "The tests, run in the sandbox")}`);
  const [before, after] = [exits.at(0), exits.at(-1)];
  if (before !== undefined) say(`  before  ${before.title}  ${paint(before.exitCode === 0 ? "green" : "red", `exit ${before.exitCode}`)}`);
  if (after !== undefined && exits.length > 1)
    say(`  after   ${after.title}  ${paint(after.exitCode === 0 ? "green" : "red", `exit ${after.exitCode}`)}`);
  if (ended.result?.headBranch) {
    say(`\n${paint("bold", "Look at it")}`);
    say(`  git -C ${shellWord(ended.repositoryUrl)} log --stat ${ended.result.headBranch}`);
  }
}

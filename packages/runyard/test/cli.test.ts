// The command line without a server: help, plain errors, the doctor, completions.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CommanderError } from "commander";
import { createProgram } from "../src/cli/program.ts";
import { screenOf, runAtTerminal } from "../src/cli/testing/terminal.ts";
import type { Finding } from "../src/doctor.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { overlaySupport } from "../src/sandbox/overlay.ts";
import { logIn, madeUpLogin } from "../src/testing/own-logins.ts";
import { type CliResult, makeTestHome, type TestHome } from "../src/testing/server.ts";

const PROGRAM = fileURLToPath(new URL("../bin/runyard.mjs", import.meta.url));
const COMMANDS = [
  ["run", "runs", "show", "logs", "events", "diff", "files", "pull", "answer", "cancel"],
  ["plan", "confirm", "revise", "reject", "continue", "agents", "repositories", "credentials", "organization"],
  ["up", "down", "status", "open", "token", "doctor", "demo", "completion"],
].flat();
const unavailable = (await sandboxDriver("bwrap").probe()).reason;

let home: TestHome;
beforeAll(() => {
  home = makeTestHome();
});
afterAll(() => rmSync(home.root, { recursive: true, force: true }));

describe("help", () => {
  test("lists every command on stdout, fits 80 columns and names the exit codes", async () => {
    const { code, stdout, stderr } = await home.cli(["--help"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const name of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${name} `, "m"));
    expect(stdout).toContain("130 interrupted");
    expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
  });

  test.each(COMMANDS)("%s shows examples, and how its data can be read by programs", async (name) => {
    const { stdout } = await parse([name, "--help"]);
    expect(stdout).toMatch(/\nExamples:\n {2}\$ .*runyard /);
    if (name !== "completion") expect(stdout).toMatch(/--(nd)?json/);
    if (/^Usage: .* <run>/.test(stdout)) expect(stdout.replaceAll(/\s+/g, " ")).toContain("`last` for the newest");
    // What must not be broken is an example that one copies, or a list of words.
    const long = stdout.split("\n").filter((line) => line.length > 80 && !line.startsWith("  $ ") && line.trim().includes(" "));
    expect(long).toEqual([]);
  });
});

describe("a wrong command line ends with code 2, a reason and a way on", () => {
  const cases: [string[], string, string][] = [
    [["rns"], "unknown command 'rns'", "Did you mean runs?"],
    [["quantum"], "unknown command 'quantum'", "See: runyard --help"],
    [["runs", "--statsu", "x"], "unknown option '--statsu'", "Did you mean --status?"],
    [["runs", "--status", "done"], "Allowed choices are pending", "See: runyard runs --help"],
    [["runs", "--limit", "many"], "a number from 1 to 100", "See: runyard runs --help"],
    [["show"], "missing required argument 'run'", "See: runyard show --help"],
    [["status", "now"], "too many arguments", "See: runyard status --help"],
    [["run", "x", "--ask", "everything"], "no kind of tool call", "See: runyard run --help"],
    [["run", "x", "--agent", "a", "--agent-command", "b"], "cannot be used with", "See: runyard run --help"],
    [["events", "last", "--after", "-1"], "0 or more", "See: runyard events --help"],
    [["confirm", "last", "--version", "0"], "a plan's version: 1 or more", "See: runyard confirm --help"],
    [["confirm", "last", "--edit", "--file", "plan.md"], "cannot be used with", "See: runyard confirm --help"],
    [["run", "x", "--plan-timeout", "soon"], "a number of seconds", "See: runyard run --help"],
    [["repositories", ".", "--plan", "--plan-default"], "cannot be used with", "See: runyard repositories --help"],
    [["completion", "tcsh"], "Allowed choices are bash, zsh, fish", "See: runyard completion --help"],
  ];

  test.each(cases)("%j", async (words, reason, wayOn) => {
    const { stdout, stderr, error } = await parse(words);
    expect(stdout).toBe("");
    expect(error).toBeInstanceOf(CommanderError);
    expect(stderr).toMatch(/^error: /);
    expect(stderr).toContain(reason);
    expect(stderr).toContain(wayOn);
  });

  test("also as a process", async () => {
    expect(await home.cli(["rns"])).toEqual({
      code: 2,
      stdout: "",
      stderr: "error: unknown command 'rns'\n  Did you mean runs?\n  See: runyard --help\n",
    });
    expect(await home.cli(["up", "--port", "x"])).toEqual({
      code: 2,
      stdout: "",
      stderr: 'error: The port must be a number from 0 to 65535: got "x"\n  Set it with --port or RUNYARD_PORT.\n',
    });
    expect(await home.cli([])).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("Usage: runyard <command>") });
  });

  test.each([
    [["--github-app", "7"], "A GitHub App takes both its id and its private key.\n  Give --github-app ID and --private-key-stdin"],
    [["--private-key-stdin"], "A GitHub App takes both its id and its private key."],
    [["--github-app", "7", "--private-key-stdin", "--token-stdin"], "cannot be used with option '--token-stdin'"],
    [[], "Give --token-stdin, with the token on stdin, --ssh-key FILE, or --github-app ID with --private-key-stdin."],
  ])("credentials add %j", async (words, said) => {
    const done = await home.cli(["credentials", "add", "https://github.com/acme", ...words], { input: "decoy\n" });
    expect(done).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining(said) as string });
  });
});

describe("without a server", () => {
  test.each([
    ["status", "--json"],
    ["run", "x"],
    ["pull", "last"],
  ])("%s says so and what to do", async (...words) => {
    const { code, stdout, stderr } = await home.cli(words);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^error: No Runyard is running here\.\n {2}Start one with `runyard up`.*RUNYARD_URL/);
  });

  test("a server that is gone, but left its file, is not taken for one that runs", async () => {
    const stale = makeTestHome();
    mkdirSync(path.join(stale.root, "home"));
    const record = { pid: process.pid, startTime: "1", bootId: "an earlier one", url: "http://127.0.0.1:1", version: "0" };
    writeFileSync(path.join(stale.root, "home", "server.json"), JSON.stringify(record));
    expect((await stale.cli(["status"])).stderr).toContain("No Runyard is running here");
    rmSync(stale.root, { recursive: true });
  });

  test("a token is asked for in plain words", async () => {
    expect(await home.cli(["token"])).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("`runyard up` makes it") });
    const elsewhere = makeTestHome({ RUNYARD_URL: "http://127.0.0.1:1" });
    expect(await elsewhere.cli(["runs"])).toMatchObject({ code: 4, stderr: expect.stringContaining("RUNYARD_TOKEN") });
    rmSync(elsewhere.root, { recursive: true });
  });

  test.each([
    [{ RUNYARD_URL: "nowhere", RUNYARD_TOKEN: "t" }, 2, "RUNYARD_URL cannot be used"],
    [{ RUNYARD_URL: "http://127.0.0.1:1", RUNYARD_TOKEN: "two words" }, 2, "RUNYARD_TOKEN cannot be used"],
    [{ RUNYARD_URL: "http://127.0.0.1:<closed>", RUNYARD_TOKEN: "t" }, 1, "nothing listens there"],
  ])("%j is explained", async (given, code, words) => {
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
    const env = { ...given, RUNYARD_URL: given.RUNYARD_URL.replace("<closed>", String((closed.address() as AddressInfo).port)) };
    await new Promise((resolve) => closed.close(resolve));
    const elsewhere = makeTestHome(env);
    expect(await elsewhere.cli(["status"])).toMatchObject({ code, stdout: "", stderr: expect.stringContaining(words) });
    rmSync(elsewhere.root, { recursive: true });
  });
});

describe("doctor", () => {
  interface Report {
    readonly ready: boolean;
    readonly findings: readonly Finding[];
  }
  const look = async (env: Readonly<Record<string, string>> = {}): Promise<{ code: number | null; report: Report; text: string }> => {
    const place = makeTestHome(env);
    const { code, stdout } = await place.cli(["doctor", "--json"]);
    rmSync(place.root, { recursive: true, force: true });
    return { code, report: JSON.parse(stdout) as Report, text: stdout };
  };
  const stateOf = (report: Report, name: string): string | undefined => report.findings.find((finding) => finding.name === name)?.state;

  test.skipIf(unavailable !== null)("a machine with everything is ready, and nothing is made or started by looking", async () => {
    const place = makeTestHome({ OPENAI_BASE_URL: "http://127.0.0.1:9/v1", RUNYARD_MODEL: "m" });
    const { code, stdout } = await place.cli(["doctor", "--json"]);
    const report = JSON.parse(stdout) as Report;
    expect(report.findings.filter((finding) => finding.state === "problem")).toEqual([]);
    expect({ code, ready: report.ready }).toEqual({ code: 0, ready: true });
    for (const name of ["node", "git", "remotes", "bwrap", "socat", "sandbox", "home", "disk", "postgres", "builtin", "connection"])
      expect([name, stateOf(report, name)]).toEqual([name, "ok"]);
    expect(stateOf(report, "workspaces")).toBe((await overlaySupport(realpathSync(tmpdir()))).available ? "ok" : "none");
    expect(execFileSync("ls", ["-A", place.root], { encoding: "utf8" })).toBe("");
    rmSync(place.root, { recursive: true });
  });

  test("every gap has one thing to do about it; without a model no run can start", async () => {
    const { code, report } = await look({ CLAUDE_CONFIG_DIR: "/nowhere", CODEX_HOME: "/nowhere" });
    expect({ code, ready: report.ready, model: stateOf(report, "connection") }).toEqual({ code: 1, ready: false, model: "problem" });
    const gaps = report.findings.filter((finding) => finding.state === "problem" || finding.state === "warning");
    expect(gaps.filter((finding) => finding.advice === null)).toEqual([]);
  });

  test("neither keys nor logins are shown, only that they are there", async () => {
    const userHome = mkdtempSync(path.join(tmpdir(), "runyard-logins-"));
    mkdirSync(path.join(userHome, ".codex"));
    writeFileSync(path.join(userHome, ".codex", "auth.json"), "decoy-login");
    const { report, text } = await look({ HOME: userHome, OPENAI_API_KEY: "sk-decoy", GEMINI_API_KEY: "decoy-too" });
    logIn(userHome, madeUpLogin("codex"));
    logIn(userHome, madeUpLogin("claude", -1_000));
    // An adapter, and a program of this machine that stands for Codex: they are looked for and not started.
    const adapter = path.join(userHome, "node_modules/@agentclientprotocol/codex-acp");
    mkdirSync(path.join(adapter, "dist"), { recursive: true });
    writeFileSync(path.join(adapter, "package.json"), JSON.stringify({ name: "@agentclientprotocol/codex-acp", version: "2.6.0" }));
    writeFileSync(path.join(adapter, "dist/index.js"), "", { mode: 0o755 });
    const later = await look({ HOME: userHome, RUNYARD_CODEX_ACP: userHome, RUNYARD_CODEX: process.execPath });
    rmSync(userHome, { recursive: true });
    expect(later.report.findings.find((finding) => finding.name === "logins")).toMatchObject({
      state: "warning",
      found: expect.stringMatching(
        /^claude \(~\/\.claude\/\.credentials\.json\): cannot be used, codex \(~\/\.codex\/auth\.json\): for runs with --own-login until 2/,
      ) as string,
      advice: expect.stringMatching(
        /^Claude Code's login on the server's machine has expired \(.*Renew it there: claude, and in it \/login\.$/,
      ) as string,
    });
    expect(later.text).not.toContain("decoy");
    // No provider is connected, and yet a run could start.
    expect(later.report.findings.find((finding) => finding.name === "connection")).toMatchObject({
      state: "warning",
      found: "no provider is connected: only runs with --own-login have a model",
    });
    expect(text).toContain("OPENAI_API_KEY");
    expect(text).toContain("GEMINI_API_KEY");
    expect(report.findings.find((finding) => finding.name === "logins")?.found).toMatch(/^codex \(~\/\.codex\/auth\.json\)/);
    expect(text).not.toContain("decoy");
  });

  test("a database that does not answer is a problem, told without its password", async () => {
    const silent = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as AddressInfo;
    const { code, report, text } = await look({ DATABASE_URL: `postgres://me:decoy@127.0.0.1:${port}/mine` });
    silent.close();
    expect(code).toBe(1);
    expect(report.findings.find((finding) => finding.name === "postgres")).toMatchObject({
      state: "problem",
      found: expect.stringContaining(`127.0.0.1:${port}/mine`),
      advice: expect.stringContaining("DATABASE_URL"),
    });
    expect(text).not.toContain("decoy");
  });

  test.skipIf(process.getuid?.() === 0)("a home that cannot be written is a problem", async () => {
    const { report } = await look({ RUNYARD_HOME: "/proc/runyard" });
    expect(stateOf(report, "home")).toBe("problem");
  });

  test.skipIf(unavailable !== null)("a program that is missing is named, with the package to install", async () => {
    const place = makeTestHome();
    // The same machine, but for one program that is no program there.
    const words = ["--dev-bind", "/", "/", "--bind", "/dev/null", execFileSync("which", ["socat"], { encoding: "utf8" }).trim()];
    const { code, stdout } = await run("bwrap", [...words, "--", process.execPath, PROGRAM, "doctor"], place.env);
    rmSync(place.root, { recursive: true });
    expect(code).toBe(1);
    expect(stdout).toMatch(/✗ socat +not installed\n +Install the package socat/);
    expect(stdout).toMatch(/✗ sandbox +none could be started/);
    expect(stdout).toMatch(/✓ bwrap/);
  });

  test.each([80, 200])("at a terminal of %i columns no word is cut", async (columns) => {
    const { code, output } = await runAtTerminal(["doctor"], { env: home.env, columns });
    expect(code).toBe(1);
    const plain = await home.cli(["doctor"]);
    const words = (text: string): string[] => text.replaceAll(/[\d.]+ GB/g, "").split(/\s+/);
    expect(words(screenOf(output, 1_000).join("\n"))).toEqual(words(plain.stdout));
    expect(output).toContain("\u001b[");
    expect(plain.stdout).not.toContain("\u001b[");
    const broken = screenOf(output, 1_000).filter((line) => line.length > columns && line.trim().includes("  "));
    expect(broken.filter((line) => line.trim().split(/\s+/).length > 4)).toEqual([]);
  });
});

describe("completions", () => {
  const scriptOf = async (shell: string): Promise<string> => (await home.cli(["completion", shell])).stdout;
  let bash = "";
  beforeAll(async () => {
    bash = await scriptOf("bash");
  });
  const complete = (line: readonly string[]): string[] => {
    const program = `${bash}\nCOMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _runyard; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return execFileSync("bash", ["--norc", "-c", program, "bash", ...line], { encoding: "utf8" })
      .split("\n")
      .filter((word) => word !== "");
  };

  test("bash completes commands, options, values and `last`", () => {
    expect(complete(["runyard", "run"])).toEqual(["run", "runs"]);
    expect(complete(["runyard", ""])).toEqual(expect.arrayContaining([...COMMANDS, "help", "--version"]));
    expect(complete(["runyard", "diff", "--s"])).toEqual(["--stat"]);
    expect(complete(["runyard", "show", "l"])).toEqual(["last"]);
    expect(complete(["runyard", "runs", "--status", "awaiting"])).toEqual(["awaiting_plan", "awaiting_input"]);
    expect(complete(["runyard", "run", "--sandbox", ""])).toEqual(["bwrap", "docker", "process"]);
    expect(complete(["runyard", "run", "--on-plan-timeout", ""])).toEqual(["reject", "approve"]);
    expect(complete(["runyard", "confirm", "--e"])).toEqual(["--edit"]);
    expect(complete(["runyard", "completion", "z"])).toEqual(["zsh"]);
    expect(complete(["runyard", "pull", "last", "--ap"])).toEqual(["--apply"]);
  });

  test("zsh and fish get the same commands and options", async () => {
    for (const script of [await scriptOf("zsh"), await scriptOf("fish")]) {
      for (const name of COMMANDS) expect(script).toContain(name);
      expect(script).toContain("awaiting_input");
      expect(script).toContain("checkout");
    }
  });
});

/** Parses a command line in this process, as the program does; nothing of a command runs. */
async function parse(words: readonly string[]): Promise<{ stdout: string; stderr: string; error: unknown }> {
  let [stdout, stderr] = ["", ""];
  const program = createProgram();
  for (const one of [program, ...program.commands])
    one.configureOutput({ writeOut: (text) => (stdout += text), writeErr: (text) => (stderr += text), getOutHelpWidth: () => 80 });
  const error: unknown = await program.parseAsync(["node", "runyard", ...words]).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  return { stdout, stderr, error };
}

function run(program: string, words: readonly string[], env: NodeJS.ProcessEnv): Promise<CliResult> {
  const child = spawn(program, words, { env, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, stdout, stderr })));
}

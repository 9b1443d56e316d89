import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { sameInstallation } from "./setup/dependencies.mjs";
import { findProgram } from "./setup/programs.mjs";

// Set-up is run as users run it: as a process, in a clone of its own. npm is stood in for by a program
// that notes each call and makes node_modules; one test lets the real npm work.

const SCRIPTS = fileURLToPath(new URL("./", import.meta.url));
const LOCKFILE = JSON.stringify({ lockfileVersion: 3, packages: { "": {} } });

let clone = "";
beforeEach(() => {
  clone = realpathSync(mkdtempSync(path.join(tmpdir(), "runyard-clone-")));
  for (const part of ["bootstrap.mjs", "setup"]) cpSync(path.join(SCRIPTS, part), path.join(clone, "scripts", part), { recursive: true });
  put("package-lock.json", LOCKFILE);
  put(
    "packages/runyard/bin/runyard.mjs",
    "console.log(JSON.stringify({ argv: process.argv.slice(2), pid: process.pid }));\nprocess.exitCode = 7;\n",
  );
  for (const name of ["git", "bwrap", "socat"]) putProgram(name, "#!/bin/sh\n");
  putNpm("");
});
afterEach(() => {
  rmSync(clone, { recursive: true, force: true });
});

function put(file: string, text: string): void {
  mkdirSync(path.dirname(path.join(clone, file)), { recursive: true });
  writeFileSync(path.join(clone, file), text);
}

function putProgram(name: string, text: string): void {
  put(`bin/${name}`, text);
  chmodSync(path.join(clone, "bin", name), 0o755);
}

/** An npm that makes node_modules in the folder it is called for, after `code`. */
function putNpm(code: string): void {
  const lines = [
    `#!${process.execPath}`,
    'const fs = require("node:fs");',
    `fs.appendFileSync(${JSON.stringify(path.join(clone, "npm-calls"))}, process.argv.slice(2).join(" ") + "\\n");`,
    'const dir = process.argv[process.argv.indexOf("--prefix") + 1] + "/node_modules";',
    "fs.rmSync(dir, { recursive: true, force: true });",
    code,
    "fs.mkdirSync(dir, { recursive: true });",
  ];
  putProgram("npm", `${lines.join("\n")}\n`);
}

function npmCalls(): string[] {
  const file = path.join(clone, "npm-calls");
  return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function startSetUp(args: readonly string[], env: NodeJS.ProcessEnv = {}): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [path.join(clone, "scripts/bootstrap.mjs"), ...args], {
    cwd: tmpdir(),
    env: { PATH: path.join(clone, "bin"), HOME: clone, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) child[name]?.setEncoding("utf8").on("data", (text: string) => (output[name] += text));
  return { child, ended: once(child, "close").then(([code]) => ({ code: code as number | null, ...output })) };
}

function setUp(...args: string[]): Promise<Ended> {
  return startSetUp(args).ended;
}

function litter(): string[] {
  return readdirSync(clone).filter((name) => name.startsWith(".runyard-setup"));
}

const DONE = { code: 0, stdout: "", stderr: "Set-up is complete.\n" };
const INSTALLING = "Installing Runyard's packages (npm ci; the first time takes about a minute).\n";

describe("packages", () => {
  test("are installed once, without install scripts, and again when the lockfile changes", async () => {
    expect(await setUp("check")).toEqual({ ...DONE, stderr: INSTALLING + DONE.stderr });
    expect(npmCalls()).toEqual([expect.stringMatching(/^ci --prefix \S+ --ignore-scripts /)]);
    expect(await setUp("check")).toEqual(DONE);
    put("package-lock.json", `${LOCKFILE}\n`);
    expect(await setUp("check")).toEqual({ ...DONE, stderr: INSTALLING + DONE.stderr });
    expect(npmCalls()).toHaveLength(2);
    expect(litter()).toEqual([]);
  });

  test("that somebody installed with npm are taken as they are", async () => {
    put("node_modules/.package-lock.json", JSON.stringify({ lockfileVersion: 3, packages: {} }));
    expect(await setUp("check")).toEqual(DONE);
    expect(npmCalls()).toEqual([]);
  });

  test("of the test programs are installed where they are pinned, for tests only", async () => {
    put("test/agents/package-lock.json", LOCKFILE);
    await setUp("up");
    expect(npmCalls()).toHaveLength(1);
    expect((await setUp("check")).stderr).toContain("Installing the agents that the tests run");
    expect(npmCalls()[1]).toContain(`ci --prefix ${clone}/test/agents --ignore-scripts`);
  });

  test("of the full tests alone are installed for those alone", async () => {
    put("test/agents/codex/package-lock.json", LOCKFILE);
    const ofCodex = (): string[] => npmCalls().filter((call) => call.includes(`ci --prefix ${clone}/test/agents/codex --ignore-scripts`));
    await setUp("check");
    expect([npmCalls().length, ofCodex().length]).toEqual([1, 0]);
    await setUp("test-full");
    expect([npmCalls().length, ofCodex().length]).toEqual([2, 1]);
  });

  test("count as missing after a failure, which is quoted", async () => {
    putNpm('console.error("npm error no such registry"); process.exit(3);');
    const failed = await setUp("check");
    expect(failed).toMatchObject({ code: 1, stdout: "" });
    expect(failed.stderr).toContain("npm error no such registry\n\nnpm ci failed in ");
    expect(failed.stderr).toContain("If the npm registry was out of reach, check the connection and start again.");
    expect(litter()).toEqual([]);
    putNpm("");
    expect((await setUp("check")).code).toBe(0);
  });

  const realNpm = findProgram("npm");
  test.skipIf(realNpm === null)("the real npm fills node_modules and is not asked twice (needs npm on PATH)", async () => {
    put("dep/package.json", JSON.stringify({ name: "dep", version: "1.0.0" }));
    put("package.json", JSON.stringify({ name: "x", version: "1.0.0", dependencies: { dep: "file:./dep" } }));
    const packages = {
      "": { name: "x", version: "1.0.0", dependencies: { dep: "file:./dep" } },
      dep: { version: "1.0.0" },
      "node_modules/dep": { resolved: "dep", link: true },
    };
    put("package-lock.json", JSON.stringify({ name: "x", version: "1.0.0", lockfileVersion: 3, requires: true, packages }));
    const env = { PATH: `${path.join(clone, "bin")}:${path.dirname(realNpm ?? "")}:/usr/bin:/bin` };
    rmSync(path.join(clone, "bin/npm"));
    expect(await startSetUp(["check"], env).ended).toEqual({ ...DONE, stderr: INSTALLING + DONE.stderr });
    expect(existsSync(path.join(clone, "node_modules/dep/package.json"))).toBe(true);
    expect(await startSetUp(["check"], env).ended).toEqual(DONE);
    rmSync(path.join(clone, "node_modules/.runyard-setup-done"));
    expect(await startSetUp(["check"], env).ended).toEqual(DONE);
  });
});

describe("two set-ups at once", () => {
  /** npm goes on only once the test says so. */
  const HELD = 'while (!fs.existsSync(__dirname + "/../go")) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);';

  test("the second waits for the first and finds everything done", async () => {
    putNpm(HELD);
    const first = startSetUp(["check"]);
    await vi.waitUntil(() => npmCalls().length === 1, { timeout: 50_000 });
    const second = startSetUp(["check"]);
    let waiting = "";
    second.child.stderr?.on("data", (text: string) => (waiting += text));
    await vi.waitUntil(() => waiting !== "", { timeout: 50_000 });
    expect(waiting).toBe(`Another set-up is at work here (process ${first.child.pid}): waiting for it.\n`);
    put("go", "");
    expect((await first.ended).code).toBe(0);
    expect((await second.ended).code).toBe(0);
    expect(npmCalls()).toHaveLength(1);
    expect(litter()).toEqual([]);
  });

  test("of many at the same moment, one installs", async () => {
    const all = await Promise.all(Array.from({ length: 6 }, () => setUp("check")));
    expect(all.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0, 0]);
    expect(npmCalls()).toHaveLength(1);
    expect(litter()).toEqual([]);
  });

  test("a killed one is not waited for, but its npm is", async () => {
    putNpm(HELD);
    const killed = startSetUp(["check"]);
    await vi.waitUntil(() => npmCalls().length === 1 && owners().length === 2, { timeout: 50_000 });
    killed.child.kill("SIGKILL");
    await once(killed.child, "exit");
    const next = startSetUp(["check"]);
    let waiting = "";
    next.child.stderr?.on("data", (text: string) => (waiting += text));
    await vi.waitUntil(() => waiting !== "", { timeout: 50_000 });
    expect(waiting).toContain("Another set-up is at work here");
    put("go", "");
    expect((await next.ended).code).toBe(0);
    expect(npmCalls()).toHaveLength(2);
    expect(litter()).toEqual([]);
  });

  test("a lock whose process ended, or whose pid is another process by now, is stale", async () => {
    for (const startTime of ["1", null]) {
      const pid = startTime === null ? 2 ** 22 + 1 : process.pid;
      rmSync(path.join(clone, "node_modules"), { recursive: true, force: true });
      put(".runyard-setup/owner.json", JSON.stringify({ host: hostname(), holders: [{ pid, startTime }] }));
      expect(await setUp("check")).toEqual({ ...DONE, stderr: INSTALLING + DONE.stderr });
    }
    expect(litter()).toEqual([]);
  });

  test("of many that meet a stale lock, one installs", async () => {
    put(".runyard-setup/owner.json", JSON.stringify({ host: hostname(), holders: [{ pid: process.pid, startTime: "1" }] }));
    const all = await Promise.all(Array.from({ length: 6 }, () => setUp("check")));
    expect(all.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0, 0]);
    expect(npmCalls()).toHaveLength(1);
    expect(litter()).toEqual([]);
  });

  test("a signal ends npm, gives the lock back and ends set-up", async () => {
    putNpm(HELD);
    const interrupted = startSetUp(["up"]);
    await vi.waitUntil(() => owners().length === 2, { timeout: 50_000 });
    interrupted.child.kill("SIGTERM");
    expect(await interrupted.ended).toEqual({ code: 143, stdout: "", stderr: `${INSTALLING}Set-up was interrupted (SIGTERM).\n` });
    expect(litter()).toEqual([]);
  });

  /** Process ids that the lock names. */
  function owners(): unknown[] {
    try {
      return JSON.parse(readFileSync(path.join(clone, ".runyard-setup/owner.json"), "utf8")).holders;
    } catch {
      return [];
    }
  }
});

describe("after set-up", () => {
  test("the process becomes the program: its arguments, its output, its exit code", async () => {
    await setUp("check");
    const { child, ended } = startSetUp(["up", "--port", "0", "a b", "--unsafe-process"]);
    const { code, stdout, stderr } = await ended;
    expect(JSON.parse(stdout)).toEqual({ argv: ["up", "--port", "0", "a b", "--unsafe-process"], pid: child.pid });
    expect({ code, stderr }).toEqual({ code: 7, stderr: "" });
    expect(JSON.parse((await setUp("demo")).stdout).argv).toEqual(["demo"]);
  });

  test("signals are the program's own", async () => {
    put(
      "packages/runyard/bin/runyard.mjs",
      'process.on("SIGINT", () => process.exit(9));\nsetInterval(() => {}, 1e6);\nconsole.log("ready");\n',
    );
    await setUp("check");
    const { child, ended } = startSetUp(["up"]);
    if (child.stdout) await once(child.stdout, "data");
    child.kill("SIGINT");
    expect((await ended).code).toBe(9);
  });

  test("an unknown command is explained and changes nothing", async () => {
    for (const args of [[], ["constructor"]]) {
      expect(await setUp(...args)).toEqual({
        code: 2,
        stdout: "",
        stderr: expect.stringMatching(/^Usage: node scripts\/bootstrap\.mjs <up \| demo \| test \| [^>]+> \[arguments\]\n$/),
      });
    }
    expect(npmCalls()).toEqual([]);
  });

  test("a missing program stops everything before npm is called", async () => {
    rmSync(path.join(clone, "bin/socat"));
    const { code, stdout, stderr } = await setUp("up");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^Runyard needs socat on this machine /);
    expect(npmCalls()).toEqual([]);
    expect((await setUp("up", "--unsafe-process")).stderr).toMatch(/^WARNING: --unsafe-process without socat/);
  });
});

describe("what npm says it has installed", () => {
  const machine = { platform: "linux", arch: "x64" };
  const entry = { version: "1.0.0", integrity: "sha512-a" };
  const wanted = {
    packages: {
      "": {},
      "node_modules/a": entry,
      "node_modules/here": { ...entry, optional: true, os: ["linux"], cpu: ["x64"] },
      "node_modules/elsewhere": { ...entry, optional: true, os: ["darwin"], cpu: ["arm64"] },
    },
  };
  const complete = { "node_modules/a": entry, "node_modules/here": entry };

  test("is enough when only packages for other platforms are absent", () => {
    expect(sameInstallation(wanted, { packages: complete }, machine)).toBe(true);
  });

  test.each([
    ["a package is absent", { "node_modules/here": entry }],
    ["this platform's own package is absent", { "node_modules/a": entry }],
    ["a version differs", { ...complete, "node_modules/a": { ...entry, version: "1.0.1" } }],
    ["the content differs", { ...complete, "node_modules/a": { ...entry, integrity: "sha512-b" } }],
    ["there is something else", { ...complete, "node_modules/b": entry }],
    ["there is nothing", undefined],
  ])("is not when %s", (_, packages) => {
    expect(sameInstallation(wanted, packages === undefined ? {} : { packages }, machine)).toBe(false);
  });
});

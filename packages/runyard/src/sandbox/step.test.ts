import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isShimAlive, readShimPid } from "./run-directory.ts";
import { hostLaunch, runHostCommand, runStep, type StepResult, StepTimeoutError } from "./step.ts";
import { type Lab, openLab, SHIM_PROGRAM, SPAWNER_PROGRAM, waitFor, waitForFile } from "./testing/lab.ts";
import { processesWith } from "./testing/processes.ts";

const SERVER = fileURLToPath(new URL("testing/step-server.ts", import.meta.url));

describe("a step", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await openLab("step");
  });
  afterAll(() => lab.close());

  const sh = (script: string, ...words: string[]): string[] => ["sh", "-c", script, "sh", ...words];
  const step = (
    dir: string,
    argv: readonly string[],
    options: { timeoutMs?: number; signal?: AbortSignal; maxOutputBytes?: number } = {},
  ): Promise<StepResult> => runStep({ spawner: lab.spawner, dir, launch: hostLaunch(argv), timeoutMs: 20_000, ...options });

  it("gives status and output of a command that has no input", async () => {
    expect(await step(lab.newDir(), sh("cat; echo out; echo err >&2; exit 3"))).toEqual({
      code: 3,
      stdout: "out\n",
      stderr: "err\n",
      truncated: false,
    });
  });

  it("runs once, and gives the same result as often as it is asked for", async () => {
    const [dir, count] = [lab.newDir(), path.join(lab.root, "count")];
    const results = await Promise.all([1, 2].map(() => step(dir, sh('echo x >>"$1"; echo done', count))));
    results.push(await step(dir, sh("echo another")));
    expect(results.map((result) => result.stdout)).toEqual(["done\n", "done\n", "done\n"]);
    expect(readFileSync(count, "utf8")).toBe("x\n");
  });

  it("is waited for by a second server when the first one was killed in the middle of it", async () => {
    const [dir, count, go] = [lab.newDir(), path.join(lab.root, "adopted"), path.join(lab.root, "go")];
    const argv = sh('echo x >>"$1"; until [ -e "$2" ]; do sleep 0.05; done; echo finished; exit 4', count, go);
    const job = { spawner: { dir: lab.spawnerDir, spawnerProgram: SPAWNER_PROGRAM, shimProgram: SHIM_PROGRAM }, dir, argv };
    const words = ["--import", "tsx", "--conditions=runyard-source", SERVER, JSON.stringify(job)];
    const server = spawn(process.execPath, words, { stdio: "ignore" });
    const pid = await waitFor(() => readShimPid(dir));
    await waitFor(() => existsSync(count));
    server.kill("SIGKILL");
    await new Promise((resolve) => server.once("exit", resolve));
    expect(isShimAlive(dir)).toBe(true);
    const adopted = step(dir, argv);
    writeFileSync(go, "");
    expect(await adopted).toEqual({ code: 4, stdout: "finished\n", stderr: "", truncated: false });
    expect(readShimPid(dir)).toEqual(pid);
    expect(readFileSync(count, "utf8")).toBe("x\n");
  });

  it("is ended for certain when its time is over, and stays so for whoever asks later", async () => {
    const [dir, tag] = [lab.newDir(), `5${process.pid}.75`];
    const argv = sh(`trap '' TERM; setsid sleep ${tag} & while :; do sleep ${tag}; done`);
    await expect(step(dir, argv, { timeoutMs: 300 })).rejects.toThrow(StepTimeoutError);
    expect(processesWith(tag)).toEqual([]);
    await expect(step(dir, argv)).rejects.toThrow("the command ran longer than");
  });

  it("is ended for certain when it is aborted, with the reason", async () => {
    const [dir, tag] = [lab.newDir(), `6${process.pid}.75`];
    const abort = new AbortController();
    const running = step(dir, sh(`sleep ${tag} & sleep ${tag}`), { signal: abort.signal });
    await waitFor(() => processesWith(`sleep\0${tag}`).length === 2);
    abort.abort(new Error("somebody cancelled"));
    await expect(running).rejects.toThrow("somebody cancelled");
    expect(processesWith(tag)).toEqual([]);
    await expect(step(lab.newDir(), ["true"], { signal: abort.signal })).rejects.toThrow("somebody cancelled");
  });

  it("is lost when its shim dies, and nothing of it lives on", async () => {
    const [dir, tag] = [lab.newDir(), `7${process.pid}.75`];
    const running = step(dir, sh(`echo begun; sleep ${tag}`));
    const pid = await waitFor(() => readShimPid(dir));
    await waitFor(() => processesWith(`sleep\0${tag}`).length === 1);
    // What it said is on its way to the journal for a moment.
    await waitForFile(path.join(dir, "out"));
    process.kill(pid.pid, "SIGKILL");
    expect(await running).toMatchObject({ code: null, stdout: "begun\n" });
    expect(processesWith(tag)).toEqual([]);
  });

  it("keeps the end of an output that is too long, and says that it did", async () => {
    const result = await step(lab.newDir(), sh("seq 100000; echo short >&2"), { maxOutputBytes: 13 });
    expect(result).toEqual({ code: 0, stdout: "99999\n100000\n", stderr: "short\n", truncated: true });
  });

  it("refuses a command that cannot be written down", async () => {
    await expect(step(lab.newDir(), [])).rejects.toThrow("is not the name of a program");
    await expect(step(lab.newDir(), ["a\0b"])).rejects.toThrow("NUL");
    const launch = hostLaunch(["true"], { "not-a-name": "x" });
    await expect(runStep({ spawner: lab.spawner, dir: lab.newDir(), launch, timeoutMs: 1000 })).rejects.toThrow(
      '"not-a-name" cannot be passed on',
    );
  });

  it("of the host gets PATH and what it is given, and leaves no directory", async () => {
    const stepsDir = path.join(lab.root, "steps");
    const options = { spawner: lab.spawner, stepsDir, timeoutMs: 20_000 };
    const { stdout } = await runHostCommand({ ...options, argv: ["env"], env: { GIT_DIR: "it's" } });
    expect(
      stdout
        .split("\n")
        .filter((line) => line !== "")
        .sort(),
    ).toEqual(["GIT_DIR=it's", `PATH=${process.env["PATH"]}`]);
    await expect(runHostCommand({ ...options, argv: ["sleep", "100"], timeoutMs: 100 })).rejects.toThrow(StepTimeoutError);
    expect(readdirSync(stepsDir)).toEqual([]);
  });
});

// A shell in a run's sandbox, on the whole line: the command line, server, sandbox, and a terminal.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Run } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { runAtTerminal } from "../src/cli/testing/terminal.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { isShimAlive } from "../src/sandbox/run-directory.ts";
import { processesWith } from "../src/sandbox/testing/processes.ts";
import { useLine } from "../src/testing/line.ts";
import { publishedProgram } from "../src/testing/published.ts";
import { makeRepository, readLog } from "../src/testing/server.ts";
import { fullTest, isFull } from "../src/testing/full.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;

describe.skipIf(unavailable !== null)(unavailable === null ? "a shell of a run" : `shells cannot be tested: ${unavailable}`, () => {
  const line = useLine();

  async function endedRun(name: string, ...words: string[]): Promise<Run> {
    await line.serve([{ run: "echo built > built.txt" }, { say: "Done." }]);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n", ".gitignore": "ignored\n" }, name);
    const done = await line.home.cli(["run", "Do it", "--repo", repository, "--json", ...words]);
    expect([done.code, done.stderr]).toEqual([0, expect.anything()]);
    return JSON.parse(done.stdout) as Run;
  }
  const shellsOf = (run: Run): string[] => {
    const dir = path.join(line.home.env["RUNYARD_HOME"] ?? "", "runs", run.id, String(run.attempt), "steps");
    return readdirSync(dir).flatMap((name) => (name.startsWith("shell-") ? [path.join(dir, name)] : []));
  };
  const start = async (...words: string[]): Promise<ChildProcess> =>
    spawn(process.execPath, [await publishedProgram(), "shell", ...words], { env: line.home.env, stdio: ["pipe", "pipe", "pipe"] });

  test("runs one command in the workspace, with its own output, input and exit code", async () => {
    const run = await endedRun("command", "--env", "COLOUR=green");
    const script = 'cat built.txt; pwd; echo "$COLOUR $HOME"; cat; echo problem >&2; (sleep 1000 &) ; exit 7';
    const done = await line.home.cli(["shell", run.id, "--", "sh", "-c", script], { input: "typed\n" });
    expect(done).toEqual({ code: 7, stdout: "built\n/workspace\ngreen /home/agent\ntyped\n", stderr: "problem\n" });
    expect((await line.home.cli(["shell", run.id, "--", "sh", "-c", "kill -TERM $$"])).code).toBe(143);
    expect(await line.home.cli(["shell", run.id], { input: "echo by stdin\nexit 3\n" })).toMatchObject({ code: 3, stdout: "by stdin\n" });
    // Neither a network nor anything of the host.
    const outside = await line.home.cli([
      "shell",
      run.id,
      "--",
      "sh",
      "-c",
      `tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; cat ${line.home.root}/home/admin-token; env | grep -ci -e proxy -e api_key; for fd in /proc/self/fd/*; do readlink $fd; done | grep -vcE '^(/dev/null|pipe:.*|socket:.*|/proc/.*)$'`,
    ]);
    expect(outside.stdout).toMatch(/^lo\n0\n0\n$/);
    const opened = (await readLog(line.client, run.id)).filter(({ type }) => type === "shell.opened");
    expect(opened.map(({ data }) => data)).toEqual(
      [1, 2, 3, 4].map(() => ({ userId: expect.any(String), userName: expect.any(String), terminal: false, withSecrets: false })),
    );
    expect((await line.home.cli(["logs", run.id])).stdout).toMatch(/opened a command in the workspace/);
    expect((await line.client.runs.get(run.id)).status).toBe("completed");
    await expect.poll(() => shellsOf(run), { timeout: 20_000 }).toEqual([]); // what is over is removed
  }, 60_000);

  test("is a terminal: it has job control and its size, Ctrl-C is the program's, and the exit code is passed on", async () => {
    const run = await endedRun("terminal");
    const typing = [
      { at: /workspace\$ $/, keys: "sh -c 'stty size; exec sleep 500'\n" },
      { at: /50 91/, keys: "\u0003" },
      { at: /\^C[^]*\$ $/, keys: "sleep 501 & jobs; kill %1; echo $(($? + 40)); exit 5\n" },
    ];
    const done = await runAtTerminal(["shell", run.id], { env: line.home.env, columns: 91, typing });
    expect(done).toMatchObject({ output: expect.stringMatching(/Running +sleep 501/) });
    expect([done.code, done.output]).toEqual([5, expect.stringMatching(/\n40\r/)]);
    expect(done.output).not.toMatch(/job control|cannot set terminal/);
  }, 60_000);

  test("ends with everything in it when its command line is killed", async () => {
    await line.serve([{ ask: "Well?" }, { say: "Done." }]);
    const run = await line.client.runs.create({
      task: "Ask",
      repositoryUrl: makeRepository(line.home.root, { "README.md": "# x\n" }, "killed"),
    });
    await line.waiting(run.id); // while a run is at work, too
    const tag = `${process.pid}.75`;
    const child = await start(
      run.id,
      "--",
      "sh",
      "-c",
      `setsid sleep 7${tag} & (sleep 8${tag} &); trap '' TERM HUP INT; echo up; sleep 9${tag}; sleep 9${tag}`,
    );
    await new Promise<void>((resolve) => child.stdout?.once("data", () => resolve()));
    await expect.poll(() => processesWith(tag).length).toBeGreaterThan(3); // the control: it is all there
    child.kill("SIGKILL");
    await expect.poll(() => processesWith(tag)).toEqual([]);
    await line.client.runs.cancel(run.id);
  }, 60_000);

  test.runIf(isFull)(
    "ends when a next turn takes the workspace, which goes on from the commit that it knows",
    async () => {
      const run = await endedRun("continued");
      const child = await start(
        run.id,
        "--",
        "sh",
        "-c",
        "git config user.name me; git config user.email me@x.invalid; echo mine > mine.txt; git add -A; git commit -qm mine; echo ready; exec sleep 1000",
      );
      await new Promise<void>((resolve) => child.stdout?.once("data", () => resolve()));
      await line.serve([{ run: "git log --format=%s -n 1; ls" }, { say: "Done." }]);
      await line.client.runs.continue(run.id, "Go on");
      expect(await new Promise((resolve) => child.once("close", resolve))).not.toBe(0);
      const again = await line.client.runs.waitForEnd(run.id);
      expect(again).toMatchObject({ status: "completed", turn: 2, result: { filesChanged: 2 } });
      // The shell's commit is none of the run's; its file is there, as an agent's would be.
      expect(JSON.stringify(line.model.requests.at(-1)?.messages)).not.toContain("mine\\nREADME");
      expect((await line.home.cli(["diff", run.id])).stdout).toContain("+mine");
    },
    60_000,
  );

  fullTest(
    "has secrets where they are asked for, and leaves none behind",
    async () => {
      await line.home.cli(["secrets", "set", "TOKEN"], { input: "very-secret-value" });
      const run = await endedRun("secret", "--secret", "TOKEN");
      const script = 'echo "[$TOKEN]"';
      expect((await line.home.cli(["shell", run.id, "--", "sh", "-c", script])).stdout).toBe("[]\n");
      const child = await start(run.id, "--with-secrets", "--", "sh", "-c", `${script}; exec sleep 1000`);
      const said = await new Promise<string>((resolve) => child.stdout?.once("data", (text: Buffer) => resolve(text.toString())));
      expect(said).toBe("[very-secret-value]\n");
      expect(shellsOf(run).some(isShimAlive)).toBe(true); // by this, nobody cleans up its workspace
      expect(shellsOf(run).filter((dir) => readdirSync(dir).includes("pid") && existsSync(path.join(dir, "args")))).toEqual([]);
      expect(processesWith("very-secret-value")).toEqual([]);
      child.kill("SIGTERM");
      expect(await new Promise((resolve) => child.once("exit", (code, signal) => resolve(signal ?? code)))).toBe(137);
      expect((await readLog(line.client, run.id)).at(-1)).toMatchObject({ type: "shell.opened", data: { withSecrets: true } });
    },
    60_000,
  );

  test("reaches the run's hosts and no model", async () => {
    const run = await endedRun("egress", "--egress", "*.through.invalid");
    const ask = `
const http = require("node:http");
const { hostname, port, username, password } = new URL(process.env.HTTPS_PROXY);
const headers = { "proxy-authorization": "Basic " + Buffer.from(username + ":" + password).toString("base64") };
for (const path of ["let.through.invalid:443", "other.invalid:443"])
  http.request({ host: hostname, port, method: "CONNECT", path, headers, agent: false }).on("connect", (answer, socket) => { console.log(path, answer.statusCode); socket.destroy(); }).end();
fetch("http://" + hostname + ":" + port + "/v1/models", { headers: { authorization: "Bearer " + password } }).then((answer) => console.log("models", answer.status));`;
    const { stdout } = await line.home.cli(["shell", run.id, "--", "node", "-e", ask]);
    expect(stdout.trim().split("\n").sort()).toEqual(["let.through.invalid:443 502", "models 403", "other.invalid:443 403"]);
  }, 60_000);

  test.runIf(isFull)(
    "is refused where there is no workspace, no sandbox, or another machine's server",
    async () => {
      await line.restart({ RUNYARD_KEEP_WORKSPACES: "forever" });
      const run = await endedRun("plain", "--sandbox", "process", "--allow", "execute");
      const place = path.join(line.home.env["RUNYARD_HOME"] ?? "", "runs", run.id, "1", "workspace");
      expect(await line.home.cli(["shell", run.id, "ls"])).toMatchObject({ code: 3, stderr: expect.stringContaining(place) });
      const asked = spawnSync(process.execPath, [await publishedProgram(), "shell", run.id], {
        env: { ...line.home.env, RUNYARD_URL: "http://127.0.0.1:9", RUNYARD_TOKEN: "ry_x" },
        encoding: "utf8",
      });
      expect([asked.status, asked.stderr]).toEqual([
        3,
        expect.stringContaining("A shell is opened on the server's own machine, and http://127.0.0.1:9"),
      ]);
      await expect(line.client.runs.openShell(run.id.replace(/.{4}$/, "0000"))).rejects.toMatchObject({ code: "run_not_found" });
      await line.restart({ RUNYARD_KEEP_WORKSPACES: "0" });
      await expect.poll(() => existsSync(place), { timeout: 20_000 }).toBe(false);
      expect(await line.home.cli(["shell", run.id])).toMatchObject({
        code: 3,
        stderr: expect.stringContaining("has no workspace: it never had one, or it has been removed"),
      });
      expect(readFileSync(path.join(line.home.root, "plain", "README.md"), "utf8")).toBe("# x\n");
    },
    60_000,
  );
});

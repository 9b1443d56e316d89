// Environment variables of runs, on real parts: what the agent and what verifies its work see, and what git does not.
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { makeRepository, readLog } from "../src/testing/server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;

describe.skipIf(unavailable !== null)(unavailable === null ? "variables" : `variables cannot be tested: ${unavailable}`, () => {
  const line = useLine();

  test("are in the agent's environment and in that of what verifies, and in no step of git's", async () => {
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" });
    const client = await line.serve([{ run: "echo agent:$NODE_ENV:$FROM_HERE:$CI; echo made >a.txt" }, { say: "Done." }]);
    line.home.env["FROM_HERE"] = 'it\'s "here" $HOME';
    const words = ["run", "Do it", "--repo", repository, "--env", "NODE_ENV=test", "--env", "FROM_HERE", "--env", "CI=own", "--json"];
    const told = await line.home.cli([...words, "--verify", "echo verify:$NODE_ENV:$FROM_HERE:$CI:$HOME"]);
    expect(told.stderr + told.stdout).toContain('"status": "completed"');
    const run = JSON.parse(told.stdout) as { id: string; environment: unknown };
    expect(run.environment).toEqual({ NODE_ENV: "test", FROM_HERE: 'it\'s "here" $HOME', CI: "own" });
    const log = await readLog(client, run.id);
    const tool = log.find((event) => event.type === "tool.finished");
    expect(tool).toMatchObject({ data: { output: 'agent:test:it\'s "here" $HOME:own\n' } });
    const verified = log.find((event) => event.type === "verify.finished");
    expect(verified).toMatchObject({ data: { output: 'verify:test:it\'s "here" $HOME:own:/home/agent\n' } });

    // The steps of git have none of it, in files that only the server's user can read. The control: the agent's has it.
    const steps = path.join(line.home.root, "home/runs", run.id, "1/steps");
    const withIt = readdirSync(steps).filter((step) => holds(path.join(steps, step), "FROM_HERE"));
    expect([withIt.toSorted(), readdirSync(steps).toSorted()]).toEqual([
      ["agent", "verify-1-0"],
      ["agent", "commit", "prepare", "verify-1-0"],
    ]);
    for (const step of readdirSync(steps)) {
      expect(statSync(path.join(steps, step)).mode & 0o077).toBe(0);
      for (const file of ["cmd", "args"]) expect(statSync(path.join(steps, step, file)).mode & 0o077).toBe(0);
    }
    const shown = await line.home.cli(["show", run.id]);
    expect(shown.stdout).toContain("NODE_ENV=test");
  }, 60_000);

  test.runIf(process.env["RUNYARD_TEST_FULL"])(
    "settings of the organization, of a repository and of an agent give them, and show them",
    async () => {
      const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "settings");
      const cli = async (...words: string[]): Promise<string> => {
        const { code, stdout, stderr } = await line.home.cli(words, { cwd: repository });
        expect([words, code, stderr]).toEqual([words, 0, expect.any(String)]);
        return stdout;
      };
      await line.home.cli(["secrets", "set", "API_KEY"], { input: "decoy-of-a-key\n" });
      expect(await cli("organization", "--env", "A=org", "--env", "B=org")).toContain("A=org B=org");
      const shown = await cli("repositories", ".", "--env", "B=it is mine", "--secret", "API_KEY");
      expect(shown).toContain("B='it is mine'");
      expect(shown).toContain("API_KEY");
      await cli("agents", "create", "given", "--env", "C=agent");
      expect(await cli("agents", "show", "given")).toContain("C=agent");
      await line.serve([{ run: 'echo "$A $B $C $D ${#API_KEY}"' }, { say: "Done." }]);
      const run = JSON.parse(await cli("run", "Do it", "--agent", "given", "--env", "D=run", "--json")) as { id: string };
      expect(run).toMatchObject({ environment: { A: "org", B: "it is mine", C: "agent", D: "run" }, secrets: ["API_KEY"] });
      const tool = (await readLog(line.client, run.id)).find((event) => event.type === "tool.finished");
      expect(tool).toMatchObject({ data: { output: "org it is mine agent run 14\n" } });
      await cli("repositories", ".", "--no-env", "--no-secret");
      await cli("agents", "update", "given", "--no-env");
      expect(JSON.parse(await cli("organization", "--no-env", "--json"))).toMatchObject({ environment: {} });
      expect(JSON.parse(await cli("repositories", ".", "--json"))).toMatchObject({ environment: {}, secrets: [] });
      expect(JSON.parse(await cli("agents", "show", "given", "--json"))).toMatchObject({ environment: {} });
    },
    60_000,
  );

  test("a name alone that is not set, and one that is Runyard's, end the command before anything is asked", async () => {
    const unset = await line.home.cli(["run", "x", "--env", "NOT_SET_ANYWHERE"]);
    expect(unset).toMatchObject({ code: 2, stdout: "" });
    expect(unset.stderr).toContain("NOT_SET_ANYWHERE is not set here. Give its value: --env NOT_SET_ANYWHERE=value.");
    const taken = await line.home.cli(["run", "x", "--env", "PATH=/x"]);
    expect(taken).toMatchObject({ code: 2, stdout: "" });
    expect(taken.stderr).toContain("must not be PATH: Runyard sets it itself");
  });
});

function holds(dir: string, word: string): boolean {
  return ["cmd", "args"].some((file) => readFileSync(path.join(dir, file), "latin1").includes(word));
}

// A run's permission policy on the whole line: server, PostgreSQL, sandbox, the built-in agent, and the command line.
import type { PermissionRule, Run, RunEvent } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";
import { fullTest } from "../src/testing/full.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;

describe.skipIf(unavailable !== null)(unavailable === null ? "a policy" : `a policy cannot be tested: ${unavailable}`, () => {
  const line = useLine();

  const resolved = (log: readonly RunEvent[]) =>
    log.flatMap((event) =>
      event.type === "permission.resolved" ? [[event.data.decision, event.data.by, event.data.rule ?? event.data.userName]] : [],
    );
  const files = (repository: string, run: Run): string[] =>
    gitIn(repository, "ls-tree", "-r", "--name-only", `${run.result?.headBranch}`).split("\n");

  test("allows one file, refuses another and asks about a command; each decision says what made it", async () => {
    const client = await line.serve([
      { write: ["src/a.txt", "a\n"] },
      { write: ["secret/b.txt", "b\n"] },
      { run: "touch allowed.txt" },
      { run: "touch allowed.txt; touch asked.txt" },
      { run: "true && git push" },
      { say: "Done." },
    ]);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "rules");
    const created = await line.home.cli(
      ["run", "Do it", "--repo", repository, "--detach", "--json"].concat(
        ["--allow", "edit:src/**", "--deny", "edit:**", "--deny", "execute:git push*"],
        ["--allow", "execute:touch *", "--ask", "all"],
      ),
    );
    expect(created).toMatchObject({ code: 0 });
    const { id } = JSON.parse(created.stdout) as Run;
    const asking = await line.waiting(id);
    expect(asking.waitingFor).toMatchObject([{ toolKind: "execute", title: "touch allowed.txt; touch asked.txt" }]);
    const shown = (await line.home.cli(["show", id])).stdout;
    expect(shown).toMatch(/policy +allow edit: src\/\*\*\n +deny edit: \*\*\n[^]*ask all\n +allow everything else/);
    expect(await line.home.cli(["answer", id, "allow"])).toMatchObject({ code: 0 });
    const run = await client.runs.waitForEnd(id);
    expect(run.status).toBe("completed");
    expect(files(repository, run)).toEqual(["README.md", "allowed.txt", "asked.txt", "src/a.txt"]);
    expect(resolved(await readLog(client, id))).toEqual([
      ["allow", "policy", "allow edit: src/**"],
      ["deny", "policy", "deny edit: **"],
      ["allow", "policy", "allow execute: touch *"],
      ["allow", "person", "admin"],
      ["deny", "policy", "deny execute: git push*"],
    ]);
    // The model reads why.
    expect(JSON.stringify(line.model.requests.at(-1)?.messages)).toContain(String.raw`by its rule \"deny execute: git push*`);
    expect((await line.home.cli(["logs", id])).stdout).toContain("deny (policy, deny edit: **)");
  }, 60_000);

  fullTest(
    "remembers an answer that is given after the server was killed, for the rest of the run",
    async () => {
      const again = { run: "touch again.txt && echo $HOME" };
      await line.serve([again, again, { run: "touch again.txt && echo $HOME; touch other.txt" }, again, { say: "Done." }]);
      const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "remembered");
      const { id } = await line.client.runs.create({ task: "Do it", repositoryUrl: repository, permissionPolicy: { ask: ["execute"] } });
      const first = await line.waiting(id);
      await line.restart();
      expect(await line.home.cli(["answer", id, "allow", "--always"])).toMatchObject({
        code: 0,
        stderr: expect.stringContaining("for the rest of the run") as unknown,
      });
      const second = await line.waiting(id, first.waitingFor[0]?.id);
      expect(second.waitingFor).toMatchObject([{ title: "touch again.txt && echo $HOME; touch other.txt" }]);
      await line.restart();
      await line.client.runs.answerPermission(id, second.waitingFor[0]?.id ?? "", "deny", { remember: true });
      const run = await line.client.runs.waitForEnd(id);
      expect(run.status).toBe("completed");
      expect(files(repository, run)).toEqual(["README.md", "again.txt"]);
      const log = await readLog(line.client, id);
      const name = `answer to ${first.waitingFor[0]?.id}`;
      expect(resolved(log)).toEqual([
        ["allow", "person", "admin"],
        ["allow", "policy", name],
        ["deny", "person", "admin"],
        ["allow", "policy", name],
      ]);
      expect(log.flatMap((event) => (event.type === "permission.rule_added" ? [event.data.rule.decision] : []))).toEqual(["allow", "deny"]);
      const rule: PermissionRule = { decision: "allow", kinds: ["execute"], commands: ["touch again.txt && echo $HOME"], name };
      expect(run.permissionPolicy.rules?.[1]).toEqual(rule);
      expect(log.map((event) => event.seq)).toEqual(log.map((_, index) => index + 1));
    },
    90_000,
  );

  test("judges a command by the whole of it, however long it is", async () => {
    const long = `: ${"x".repeat(3_000)}`;
    const client = await line.serve([{ run: long }, { run: `${long} && touch no.txt` }, { write: ["yes.txt", "y\n"] }, { say: "Done." }]);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "long");
    const rules: PermissionRule[] = [
      { decision: "allow", commands: [": x*"] },
      { decision: "allow", paths: ["*.txt"] },
    ];
    const { id } = await client.runs.create({ task: "Do it", repositoryUrl: repository, permissionPolicy: { rules, default: "deny" } });
    const run = await client.runs.waitForEnd(id);
    expect(resolved(await readLog(client, id))).toEqual([
      ["allow", "policy", "rule 1"],
      ["deny", "policy", "default"],
      ["allow", "policy", "rule 2"],
    ]);
    expect(files(repository, run)).toEqual(["README.md", "yes.txt"]);
  }, 60_000);
});

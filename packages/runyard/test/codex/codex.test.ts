// How Codex works with models that it knows by name; what it has in common with others is in ../real-agents.test.ts.
import type { RunEvent } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { useLine } from "../../src/testing/line.ts";
import { PINNED_AGENTS, realAgents } from "../../src/testing/real-agents.ts";
import type { ModelScript, ModelStep } from "../../src/testing/scripted-model.ts";
import { gitIn, makeRepository, readLog } from "../../src/testing/server.ts";

const [codex] = await realAgents(["codex"]);
const reason = codex?.reason ?? null;

describe.skipIf(reason !== null)(`codex${reason === null ? "" : ` (not tested: ${reason})`}`, { timeout: 300_000 }, () => {
  const line = useLine({ env: PINNED_AGENTS });

  /** What became of a run with this model, without commands where they are not allowed. */
  async function outcome(script: ModelScript, { model, mayRun }: { readonly model: string; readonly mayRun: boolean }) {
    const client = await line.serve(script);
    const repository = makeRepository(line.home.root, { "README.md": "# demo\n" }, `codex-${model}`);
    const created = await client.runs.create({
      task: "Do the task",
      repositoryUrl: repository,
      agent: { profile: "codex" },
      model,
      ...(!mayRun && { permissionPolicy: { deny: ["execute"] } }),
    });
    const run = await client.runs.waitForEnd(created.id);
    const log = await readLog(client, run.id);
    return { run, log, show: (file: string): string => gitIn(repository, "show", `runyard/${run.id}:${file}`) };
  }

  const decisions = (log: readonly RunEvent[]) => log.flatMap((event) => (event.type === "permission.resolved" ? event.data.decision : []));

  test("changes files with the tool that a model takes which it knows", async () => {
    const script: ModelScript = [
      { say: "I will do it.", write: ["hello.txt", "hello from codex\n"] },
      { edit: ["README.md", "# demo", "# edited"] },
      { run: "cat hello.txt; exit 3" },
      { say: "Done: hello.txt is there." },
    ];
    const { run, log, show } = await outcome(script, { model: "gpt-5.5", mayRun: true });
    expect(run).toMatchObject({ status: "completed", error: null, result: { summary: "Done: hello.txt is there.", filesChanged: 2 } });
    expect([show("hello.txt"), show("README.md")]).toEqual(["hello from codex", "# edited"]);
    expect(log.flatMap((event) => (event.type === "tool.finished" ? [event.data] : []))).toMatchObject([
      { kind: "edit", status: "completed", diffs: [{ path: "/workspace/hello.txt", newText: "hello from codex\n" }] },
      { kind: "edit", status: "completed", diffs: [{ path: "/workspace/README.md", oldText: "# demo\n", newText: "# edited\n" }] },
      { kind: "execute", title: "cat hello.txt; exit 3", output: "hello from codex\n", exitCode: 3 },
    ]);
    expect(decisions(log)).toEqual(["allow", "allow", "allow"]);
    expect(line.model.requests.map((request) => [request.path, request.model])).toEqual(
      Array.from({ length: 4 }, () => ["/v1/responses", "gpt-5.5"]),
    );
    expect(line.model.requests[0]?.tools).toContain("apply_patch");
  });

  test("asks for what a program of the model's does, as its newest models work", async () => {
    const program = (words: string): ModelStep => ({ calls: [{ name: "exec", input: { text: words } }] });
    const patch = "*** Begin Patch\n*** Add File: hello.txt\n+hello\n*** End Patch\n";
    const script = [
      program(`await tools.apply_patch(${JSON.stringify(patch)}); text("patched")`),
      program(`const result = await tools.exec_command({ cmd: "touch refused.txt" }); text(result.output)`),
      { say: "Done." },
    ];
    const { run, log, show } = await outcome(script, { model: "gpt-6.1-sol", mayRun: false });
    expect(run).toMatchObject({ status: "completed", result: { summary: "Done.", filesChanged: 1 } });
    expect(show("hello.txt")).toBe("hello");
    expect(decisions(log)).toEqual(["allow", "deny"]);
    expect(line.model.requests.map((request) => request.model)).toEqual(Array.from({ length: 3 }, () => "gpt-6.1-sol"));
  });
});

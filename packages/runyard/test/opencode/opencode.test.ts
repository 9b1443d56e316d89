import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { EventData, EventType, NewEvent, PermissionRule } from "@runyard/sdk/contract";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { resolveProfile } from "../../src/agents/profiles/profiles.ts";
import type { AgentProfile } from "../../src/agents/profiles/profile.ts";
import { judgeTurn } from "../../src/core/outcome.ts";
import { sandboxDriver } from "../../src/sandbox/drivers.ts";
import { openLab, type Lab } from "../../src/sandbox/testing/lab.ts";
import { startScriptedModel, type ModelScript, type ScriptedModel } from "../../src/testing/scripted-model.ts";
import { runTurn, type Turn, type TurnOptions } from "./turn.ts";
import { fullTest } from "../../src/testing/full.ts";

const env = { RUNYARD_OPENCODE: fileURLToPath(new URL("../../../../test/agents", import.meta.url)) };
const profile = resolveProfile("opencode", env) as AgentProfile;
const bwrap = sandboxDriver("bwrap");
const [installation, sandbox] = await Promise.all([profile.probe(env), bwrap.probe()]);

function dataOf<T extends EventType>(events: readonly NewEvent[], type: T): EventData<T>[] {
  return events.flatMap((event) => (event.type === type ? [event.data as EventData<T>] : []));
}

const SCRIPT: ModelScript = [
  { say: "I will do it.", plan: { "Write hello.txt": "in_progress", "Check it": "pending" } },
  { write: ["hello.txt", "hello from opencode\n"] },
  { edit: ["README.md", "# demo", "# edited"] },
  { run: "cat hello.txt; exit 3" },
  { say: "Done: hello.txt is there." },
];

const missing = installation.installed ? sandbox.reason : installation.reason;

describe.skipIf(missing !== null)(`opencode${missing === null ? "" : ` (cannot be tested here: ${missing})`}`, { timeout: 300_000 }, () => {
  let lab: Lab;
  const models: ScriptedModel[] = [];
  const model = async (script: ModelScript): Promise<ScriptedModel> => {
    const started = await startScriptedModel(script);
    models.push(started);
    return started;
  };
  beforeAll(async () => {
    lab = await openLab("opencode");
  });
  afterEach(async () => {
    for (const started of models.splice(0)) await started.close();
  });
  afterAll(() => lab.close());

  const turn = (url: string, options: Partial<TurnOptions> = {}): Promise<Turn> =>
    runTurn({ lab, driver: bwrap, profile, modelUrl: url, prompt: "Do the task", files: { "README.md": "# demo\n" }, ...options });

  it("does a task through the sandbox, with its plan, its tools and its permissions in the log", async () => {
    const { url, requests } = await model(SCRIPT);
    const done = await turn(url);
    expect(done.state.outcome).toMatchObject({
      stopReason: "end_turn",
      error: null,
      sawOutput: true,
      lastText: "Done: hello.txt is there.",
    });
    expect(readFileSync(path.join(done.workspace, "hello.txt"), "utf8")).toBe("hello from opencode\n");
    expect(readFileSync(path.join(done.workspace, "README.md"), "utf8")).toBe("# edited\n");
    expect(dataOf(done.events, "agent.started")[0]).toMatchObject({ name: "OpenCode", version: installation.version });
    expect(dataOf(done.events, "plan.updated")[0]?.entries).toEqual([
      { content: "Write hello.txt", status: "in_progress", priority: "medium" },
      { content: "Check it", status: "pending", priority: "medium" },
    ]);
    const finished = dataOf(done.events, "tool.finished");
    expect(finished.map((tool) => [tool.kind, tool.status])).toEqual([
      ["other", "completed"],
      ["edit", "completed"],
      ["edit", "completed"],
      ["execute", "completed"],
    ]);
    expect(finished[1]?.diffs).toMatchObject([{ path: "/workspace/hello.txt", newText: "hello from opencode\n" }]);
    expect(finished[3]).toMatchObject({ title: "cat hello.txt; exit 3", output: "hello from opencode\n", exitCode: 3 });
    expect(dataOf(done.events, "permission.resolved").map((answer) => [answer.decision, answer.by])).toEqual([
      ["allow", "policy"],
      ["allow", "policy"],
      ["allow", "policy"],
    ]);
    expect(requests.map((request) => [request.authorization, request.model, request.step])).toEqual(
      [0, 1, 2, 3, 4].map((step) => ["Bearer run-token", "runyard", step]),
    );
    expect(done.exitCode).toBe(0);
  });

  fullTest("goes on after a refusal, and waits for a person where the policy asks", async () => {
    const { url } = await model(SCRIPT);
    const asked: string[] = [];
    const decide: TurnOptions["decide"] = (request) => {
      asked.push(request.title);
      return request.title.includes("hello") ? "allow" : "deny";
    };
    const done = await turn(url, { policy: { ask: ["edit"], deny: ["execute"] }, decide });
    expect(asked).toEqual(["/workspace/hello.txt", "/workspace/README.md"]);
    expect(readFileSync(path.join(done.workspace, "hello.txt"), "utf8")).toBe("hello from opencode\n");
    expect(readFileSync(path.join(done.workspace, "README.md"), "utf8")).toBe("# demo\n");
    expect(dataOf(done.events, "tool.finished").map((tool) => tool.status)).toEqual(["completed", "completed", "failed", "failed"]);
    expect(done.state.outcome).toMatchObject({ stopReason: "end_turn", lastText: "Done: hello.txt is there." });
  });

  fullTest("goes by rules of path and command", async () => {
    const { url } = await model([...SCRIPT.slice(0, 4), { run: "cat README.md" }, { say: "Done." }]);
    const rules: PermissionRule[] = [
      { decision: "allow", kinds: ["edit"], paths: ["hello.*"], name: "hello" },
      { decision: "deny", kinds: ["edit"], paths: ["**"], name: "no edits" },
      { decision: "allow", kinds: ["execute"], commands: ["cat *"], name: "cat" },
      { decision: "deny", name: "nothing else" },
    ];
    const done = await turn(url, { policy: { rules } });
    expect(dataOf(done.events, "permission.resolved").map((answer) => answer.rule)).toEqual(["hello", "no edits", "nothing else", "cat"]);
    expect(readFileSync(path.join(done.workspace, "hello.txt"), "utf8")).toBe("hello from opencode\n");
    expect(readFileSync(path.join(done.workspace, "README.md"), "utf8")).toBe("# demo\n");
    expect(dataOf(done.events, "tool.finished").map((tool) => tool.status)).toEqual([
      "completed",
      "completed",
      "failed",
      "failed",
      "completed",
    ]);
  });

  fullTest("reads what a repository says to agents, and not how it would configure opencode", async () => {
    const { url, requests } = await model([{ run: "true" }, { read: "/workspace/below/a.txt" }, { say: "Done." }]);
    const allowAll = { permission: { bash: "allow" }, model: "foo/bar", agent: { build: { permission: { bash: "allow" } } } };
    const files = {
      "AGENTS.md": "Words for agents: QUINCE.\n",
      "below/AGENTS.md": "Words for agents: MEDLAR.\n",
      "below/a.txt": "a\n",
      "opencode.json": JSON.stringify(allowAll),
      ".opencode/opencode.json": JSON.stringify(allowAll),
      ".opencode/skills/pear/SKILL.md": "---\nname: pear\ndescription: a skill called PEAR\n---\n",
      ".agents/skills/plum/SKILL.md": "---\nname: plum\ndescription: a skill called PLUM\n---\n",
      ".claude/skills/fig/SKILL.md": "---\nname: fig\ndescription: a skill called FIG\n---\n",
    };
    const done = await turn(url, { files });
    expect(done.state.outcome).toMatchObject({ stopReason: "end_turn", lastText: "Done." });
    const sent = JSON.stringify(requests[0]?.messages);
    expect(sent).toContain("QUINCE");
    // That of a folder comes with the first file that is read there.
    expect(sent).not.toContain("MEDLAR");
    expect(JSON.stringify(requests.at(-1)?.messages)).toContain("MEDLAR");
    for (const skill of ["PEAR", "PLUM", "FIG"]) expect(sent).toContain(skill);
    expect(dataOf(done.events, "permission.requested").map((request) => request.kind)).toEqual(["execute"]);
  });

  fullTest("does not make a success of a provider that refuses the key", async () => {
    const { url, requests } = await model([{ fail: 401, message: "no such key" }]);
    const done = await turn(url);
    const calls = requests.length;
    const { outcome } = done.state;
    const verdict = judgeTurn({
      stopReason: outcome?.stopReason ?? null,
      error: outcome?.error ?? null,
      sawOutput: outcome?.sawOutput ?? false,
      handedIn: false,
      gateway: { calls, failed: calls, lastError: { status: 401, message: "no such key" } },
      renewLogin: null,
      exit: null,
      oomKills: 0,
      overdueMs: null,
      stderrTail: "",
    });
    expect(calls).toBeGreaterThan(0);
    expect(verdict).toMatchObject({
      ok: false,
      error: { type: "agent-error", message: expect.stringMatching(/401.*API key.*no such key/) as string },
    });
  });

  fullTest("stops in the middle of a command when it is cancelled", async () => {
    const { url } = await model([{ run: "echo begun; sleep 600" }, { say: "not to be said" }]);
    const cancelWhen = (events: readonly NewEvent[]): boolean =>
      dataOf(events, "tool.updated").some((tool) => tool.output?.includes("begun"));
    const done = await turn(url, { cancelWhen });
    expect(done.state.outcome).toMatchObject({ stopReason: "cancelled" });
  });
});

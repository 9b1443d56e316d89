import { expect, test } from "vitest";
import { EVENT_TYPES, type EventData, type NewEvent, type RunEvent } from "./events.ts";
import { toLogEntry } from "./log-entries.ts";
import type { PullRequest } from "./pull-requests.ts";
import { logEntrySchema } from "./results.ts";
import type { RunResult, SandboxReport } from "./run.ts";

const PULL_REQUEST: PullRequest = {
  id: 1,
  number: 7,
  url: "https://github.com/acme/app/pull/7",
  title: "t",
  state: "open",
  merged: false,
  draft: false,
  headBranchName: "h",
  baseBranchName: "main",
  createdAt: "2026-01-01T00:00:00.000Z",
};
const PLACE = { seq: 7, id: "run_x:7", runId: "run_x", turn: 1, attempt: 1, at: "2026-11-20T10:00:00.000Z" };
const TOOL: Omit<EventData<"tool.finished">, "status"> = {
  toolCallId: "t",
  title: "npm test",
  kind: "execute",
  output: null,
  exitCode: null,
  diffs: [],
  locations: [],
};
const BASE = { branch: "next", commit: "0123456789abcdef", before: "0", head: null, conflicts: [] };
const RESULT: RunResult = {
  summary: "",
  headBranch: null,
  headCommit: null,
  baseCommit: "0",
  filesChanged: 0,
  insertions: 0,
  deletions: 0,
};
const LIMITS = { memoryBytes: null, cpus: null, pids: null, diskBytes: null };
const SANDBOX: SandboxReport = {
  driver: "bwrap",
  isolation: { filesystem: "hard", network: "hard", processes: "hard", syscalls: "hard" },
  requested: LIMITS,
  granted: LIMITS,
};
const USAGE = { inputTokens: 1, outputTokens: 1, cachedInputTokens: null, modelCalls: 1, failedModelCalls: 0 };
const PERMISSION: EventData<"permission.requested"> = {
  permissionId: "perm_1_2",
  toolCallId: "t",
  title: "rm",
  kind: "execute",
  decidedBy: "person",
  options: [],
};
const RETRYING: EventData<"run.retrying"> = {
  attempt: 2,
  error: { type: "lost", message: "Gone." },
  delayMs: 500,
  timeout: 60_000,
  sandboxType: "standard",
};
const VERIFIED: EventData<"verify.finished"> = {
  command: "npm test",
  kind: "test",
  round: 1,
  passed: true,
  exitCode: 0,
  cause: null,
  output: "all well\n",
  truncated: false,
};
const SET_UP: EventData<"setup.finished"> = {
  command: "npm ci",
  index: 0,
  passed: true,
  exitCode: 0,
  cause: null,
  durationMs: 900,
  output: "added\n",
  truncated: false,
};
const SNAPSHOT = { snapshotId: "snap_1", cacheKey: "v1", bytes: 4_096 };
const APPROVAL = { estimate: { cost: 8, executionTime: null, range: { low: 3, high: 24 }, basis: "task" as const, runs: 0 }, aboveUsd: 5 };
const AGENT = { pid: 1, sessionId: "s" };

/** Every event, and what it says: level, source and message; null for nothing. */
const TABLE: readonly (readonly [NewEvent, readonly [string, string, string] | null])[] = [
  [{ type: "message.user", data: { text: "Do it" } }, ["info", "user", "Do it"]],
  [{ type: "message.completed", data: { messageId: "m", kind: "text", text: "Done" } }, ["info", "agent", "Done"]],
  [{ type: "message.completed", data: { messageId: "m", kind: "thought", text: "Hm" } }, ["debug", "agent", "Hm"]],
  [{ type: "message.delta", data: { messageId: "m", kind: "text", text: "Do" } }, null],
  [{ type: "tool.started", data: { ...TOOL, status: "pending" } }, null],
  [{ type: "tool.updated", data: { ...TOOL, status: "in_progress" } }, null],
  [{ type: "tool.finished", data: { ...TOOL, status: "completed" } }, ["info", "tool", "execute: npm test"]],
  [
    { type: "tool.finished", data: { ...TOOL, status: "failed", exitCode: 1, output: "red" } },
    ["warning", "tool", "execute: npm test failed (exit 1)\nred"],
  ],
  [
    {
      type: "plan.updated",
      data: {
        entries: [
          { content: "Look", status: "completed", priority: "high" },
          { content: "Fix", status: "pending", priority: "high" },
        ],
      },
    },
    ["info", "agent", "[completed] Look\n[pending] Fix"],
  ],
  [{ type: "permission.requested", data: PERMISSION }, null],
  [
    {
      type: "permission.resolved",
      data: { permissionId: "perm_1_2", decision: "deny", optionId: null, by: "person", userId: "user_1", userName: "Ada" },
    },
    ["info", "runyard", "permission perm_1_2: deny (person, Ada)"],
  ],
  [
    { type: "permission.resolved", data: { permissionId: "perm_1_2", decision: "allow", optionId: "y", by: "policy", rule: "rule 2" } },
    ["info", "runyard", "permission perm_1_2: allow (policy, rule 2)"],
  ],
  [
    { type: "permission.resolved", data: { permissionId: "perm_1_2", decision: "allow", optionId: "y", by: "policy" } },
    ["info", "runyard", "permission perm_1_2: allow (policy)"],
  ],
  [
    {
      type: "permission.rule_added",
      data: { permissionId: "perm_1_2", rule: { decision: "allow", kinds: ["execute"], commands: ["npm test"] }, userId: "user_1" },
    },
    ["info", "runyard", "permission remembered for this run: allow execute: npm test (user_1)"],
  ],
  [
    {
      type: "permission.rule_added",
      data: { permissionId: "perm_1_2", rule: { decision: "deny", paths: ["a", "b"] }, userId: "user_1", userName: "Ada" },
    },
    ["info", "runyard", "permission remembered for this run: deny all: a, b (Ada)"],
  ],
  [
    {
      type: "replay.diverged",
      data: { exchange: 3, exchangeId: "3-ab", kind: "request", path: "messages[1].content", recorded: "One", replayed: "Two" },
    },
    ["warning", "runyard", "differs from the recording at exchange 3, in messages[1].content:\n- One\n+ Two"],
  ],
  [{ type: "progress.reported", data: { percentage: 40, message: "Half of it" } }, ["info", "agent", "40 %: Half of it"]],
  [{ type: "question.asked", data: { questionId: "ask_1_2", question: "Which?" } }, ["info", "agent", "Which?"]],
  [{ type: "question.answered", data: { questionId: "ask_1_2", answer: "This", by: "person" } }, ["info", "user", "This"]],
  [{ type: "question.answered", data: { questionId: "ask_1_2", answer: null, by: "policy" } }, null],
  [{ type: "notice", data: { level: "warning", code: "c", message: "Mind this" } }, ["warning", "runyard", "Mind this"]],
  [{ type: "log", data: { text: "stray" } }, ["debug", "agent", "stray"]],
  [{ type: "run.phase", data: { phase: "building" } }, ["info", "runyard", "building"]],
  [{ type: "sandbox.ready", data: { sandbox: SANDBOX } }, ["info", "runyard", "sandbox bwrap is ready"]],
  [{ type: "agent.started", data: { name: "opencode", version: "1.2", ...AGENT } }, ["info", "runyard", "agent opencode 1.2"]],
  [{ type: "agent.started", data: { name: null, version: null, ...AGENT } }, ["info", "runyard", "agent started"]],
  [{ type: "run.completed", data: { result: RESULT } }, ["info", "runyard", "completed without a change"]],
  [{ type: "run.completed", data: { result: { ...RESULT, headBranch: "runyard/x" } } }, ["info", "runyard", "completed: runyard/x"]],
  [{ type: "run.failed", data: { error: { type: "lost", message: "Gone" } } }, ["error", "runyard", "lost: Gone"]],
  [{ type: "run.timeout", data: { error: { type: "timeout", message: "Late" } } }, ["error", "runyard", "timeout: Late"]],
  [{ type: "run.retrying", data: RETRYING }, ["warning", "runyard", "attempt 1 ended with lost: Gone. Attempt 2 follows"]],
  [{ type: "setup.started", data: { command: "npm ci", index: 0 } }, null],
  [{ type: "setup.finished", data: SET_UP }, ["info", "runyard", "set-up: npm ci (succeeded)"]],
  [
    { type: "setup.finished", data: { ...SET_UP, passed: false, exitCode: 1, output: "red" } },
    ["warning", "runyard", "set-up: npm ci (exit 1)\nred"],
  ],
  [
    { type: "setup.finished", data: { ...SET_UP, passed: false, exitCode: null, cause: "timeout", output: "" } },
    ["warning", "runyard", "set-up: npm ci (timeout)"],
  ],
  [{ type: "snapshot.restored", data: SNAPSHOT }, ["info", "runyard", "set-up from snap_1 (v1)"]],
  [{ type: "snapshot.kept", data: { ...SNAPSHOT, files: 2 } }, ["info", "runyard", "set-up kept as snap_1 (v1)"]],
  [{ type: "verify.started", data: { command: "npm test", kind: "test", round: 1 } }, null],
  [{ type: "verify.finished", data: VERIFIED }, ["info", "runyard", "test: npm test (succeeded)"]],
  [
    { type: "verify.finished", data: { ...VERIFIED, passed: false, exitCode: 1, output: "red" } },
    ["warning", "runyard", "test: npm test (exit 1)\nred"],
  ],
  [
    { type: "verify.finished", data: { ...VERIFIED, passed: false, exitCode: null, cause: "timeout", output: "" } },
    ["warning", "runyard", "test: npm test (timeout)"],
  ],
  [
    { type: "plan.proposed", data: { version: 1, text: "# Plan\n\nOne.", hash: "h", source: "tool", dueAt: null } },
    ["info", "agent", "plan 1:\n# Plan\n\nOne."],
  ],
  [
    { type: "plan.edited", data: { version: 2, replaces: 1, text: "Two.", hash: "h", by: "person", userId: "user_1", userName: "Ada" } },
    ["info", "user", "plan 2, in place of plan 1 (person, Ada):\nTwo."],
  ],
  [{ type: "plan.approved", data: { version: 2, hash: "h", by: "policy" } }, ["info", "runyard", "plan 2 approved (policy)"]],
  [
    { type: "plan.revised", data: { version: 1, feedback: "Shorter", by: "person", userId: "user_1" } },
    ["info", "user", "plan 1 sent back (person, user_1): Shorter"],
  ],
  [
    { type: "plan.rejected", data: { version: 1, reason: "No", by: "person", userId: "user_1", userName: "Ada" } },
    ["warning", "runyard", "plan 1 rejected (person, Ada): No"],
  ],
  [
    { type: "approval.requested", data: { approvalId: "approval_1", title: "It may cost about $8.00", ...APPROVAL } },
    ["warning", "runyard", "waits for an approval: It may cost about $8.00"],
  ],
  [
    { type: "approval.granted", data: { approvalId: "approval_1", userId: "user_1", userName: "Ada" } },
    ["info", "runyard", "approved (person, Ada)"],
  ],
  [
    { type: "approval.rejected", data: { approvalId: "approval_1", reason: "Too dear", userId: "user_1" } },
    ["warning", "runyard", "rejected (person, user_1): Too dear"],
  ],
  [{ type: "run.cancelled", data: { reason: "Asked" } }, ["warning", "runyard", "cancelled: Asked"]],
  [{ type: "run.started", data: { runnerId: "r" } }, null],
  [{ type: "turn.started", data: {} }, null],
  [{ type: "turn.ended", data: { stopReason: "end_turn", error: null } }, null],
  [
    { type: "budget.warned", data: { usd: 1.5, tokens: null, spentUsd: 1.2, spentTokens: 7 } },
    ["warning", "runyard", "four fifths of the budget are spent: $1.20 of $1.50"],
  ],
  [
    { type: "budget.exceeded", data: { usd: 1.5, tokens: null, spentUsd: 1.49, spentTokens: 7, message: "It is used up." } },
    ["error", "runyard", "It is used up."],
  ],
  [
    { type: "egress.denied", data: { target: "example.com:443", reason: "not allowed to this run" } },
    ["warning", "runyard", "refused to reach example.com:443: not allowed to this run"],
  ],
  [
    { type: "secret.used", data: { secret: "TOKEN", host: "api.example.com", requests: 1 } },
    ["info", "runyard", "put the secret TOKEN into a request to api.example.com"],
  ],
  [
    { type: "secret.used", data: { secret: "TOKEN", host: "api.example.com:8443", requests: 12 } },
    ["info", "runyard", "put the secret TOKEN into 12 requests to api.example.com:8443"],
  ],
  [
    { type: "shell.opened", data: { userId: "user_1", userName: "Ada", terminal: true, withSecrets: true } },
    ["info", "runyard", "Ada opened a shell with the run's secrets in the workspace"],
  ],
  [
    { type: "shell.opened", data: { userId: "user_1", terminal: false, withSecrets: false } },
    ["info", "runyard", "user_1 opened a command in the workspace"],
  ],
  [
    {
      type: "result.held",
      data: {
        approvalId: "publish_1_abc",
        title: "It touches a protected file: CODEOWNERS",
        commit: "abc",
        files: [{ path: "CODEOWNERS", pattern: "CODEOWNERS", policy: "approve" }],
        count: 1,
      },
    },
    ["warning", "runyard", "waits for an approval before it is published: It touches a protected file: CODEOWNERS"],
  ],
  [
    { type: "base.updated", data: { ...BASE, outcome: "merged", head: "abc" } },
    ["info", "runyard", "base: merged next (0123456789), without conflicts"],
  ],
  [
    { type: "base.updated", data: { ...BASE, outcome: "forwarded", head: "abc" } },
    ["info", "runyard", "base: went on to next (0123456789)"],
  ],
  [
    { type: "base.updated", data: { ...BASE, outcome: "nothing" } },
    ["info", "runyard", "base: nothing to bring in: next (0123456789) is in already"],
  ],
  [
    { type: "base.updated", data: { ...BASE, outcome: "conflicts", conflicts: "a b c d e f g h i j k l m".split(" ") } },
    ["warning", "runyard", "base: merges next (0123456789): the agent resolves conflicts in a, b, c, d, e, f, g, h, i, j and 3 more"],
  ],
  [
    { type: "checks.started", data: { commit: "0123456789abcdef", branch: "b", timeout: 60_000 } },
    ["info", "runyard", "waits for the checks of 0123456789"],
  ],
  [
    { type: "checks.finished", data: { commit: "0", outcome: "passed", rounds: 0, checks: [], message: "All 2 succeeded." } },
    ["info", "runyard", "checks: All 2 succeeded."],
  ],
  [
    { type: "checks.finished", data: { commit: "0", outcome: "fed-back", rounds: 1, checks: [], message: "build failed." } },
    ["warning", "runyard", "checks: build failed."],
  ],
  [{ type: "usage.updated", data: { source: "gateway", ...USAGE } }, null],
  [{ type: "mode.changed", data: { modeId: "m" } }, null],
  [{ type: "result.regular", data: { result: RESULT } }, null],
  [
    { type: "result.pr", data: { result: RESULT, pullRequest: PULL_REQUEST } },
    ["info", "runyard", "pull request: https://github.com/acme/app/pull/7"],
  ],
  [
    {
      type: "run.created",
      data: {
        task: "Do it",
        repositoryUrl: "/r",
        branch: null,
        baseCommit: "0",
        agent: { profile: "builtin", command: null },
        model: null,
        simulated: false,
        permissionPolicy: { ask: [], deny: [] },
      },
    },
    null,
  ],
];

test.each(TABLE)("%o", (event, said) => {
  const entry = toLogEntry({ ...PLACE, ...event });
  const [level, source, message] = said ?? [];
  expect(entry).toEqual(said === null ? null : { seq: 7, at: PLACE.at, level, source, message });
  if (entry !== null) logEntrySchema.parse(entry);
});

test("every type of event has its line in the table", () => {
  expect([...new Set(TABLE.map(([{ type }]) => type))].sort()).toEqual([...EVENT_TYPES].sort());
});

test("an event of a type that is not known yet says nothing", () => {
  expect(toLogEntry({ ...PLACE, type: "of.tomorrow", data: {} } as unknown as RunEvent)).toBeNull();
});

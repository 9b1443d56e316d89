// Policies and answers at the door, on a real engine and a real database.
import { type PermissionPolicyRequest, type PermissionRule, type Run, type RunEvent, SCOPES } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { NewRequest } from "../agents/acp/conversation.ts";
import { type AskedCall, decidePermission } from "../core/permission-decision.ts";
import { normalizePolicy } from "../core/permission-policy.ts";
import { commitStep, readInputs, reloadRun } from "../store/runs.ts";
import { serve, type Served } from "./testing/served.ts";

let served: Served;
beforeAll(async () => {
  served = await serve();
  await served.addToken("token-a", { orgId: "org_a", scopes: SCOPES });
});
afterAll(() => served.close());

const create = (permissionPolicy?: PermissionPolicyRequest): Promise<Run> =>
  served.client.runs.create({ task: "x", repositoryUrl: "/repo", ...(permissionPolicy && { permissionPolicy }) });

describe("a policy", () => {
  test("is shown as it is stored, and may be asked for again as it is shown", async () => {
    const rules: PermissionRule[] = [
      { decision: "allow", kinds: ["execute"], commands: [" npm test* "] },
      { decision: "deny", paths: ["./secret/"], name: "secrets" },
    ];
    const run = await create({ rules, deny: ["fetch"], default: "ask" });
    expect(run.permissionPolicy).toEqual({
      ask: ["read", "edit", "delete", "move", "search", "execute", "think", "switch_mode", "other"],
      deny: ["fetch"],
      rules: [
        { decision: "allow", kinds: ["execute"], commands: ["npm test*"], name: "rule 1" },
        { decision: "deny", paths: ["secret/**"], name: "secrets" },
        { decision: "deny", kinds: ["fetch"], name: "deny" },
      ],
      default: "ask",
    });
    const again = await create(run.permissionPolicy);
    expect(again.permissionPolicy).toEqual(run.permissionPolicy);
    const [created] = await log(run.id, 1);
    expect(created).toMatchObject({ type: "run.created", data: { permissionPolicy: run.permissionPolicy } });
  });

  test("that was stored before there were rules is shown with them", async () => {
    const { id } = await create();
    await served.database.db.inOrganization("org_a", (tx) =>
      tx.query(
        `update runyard.runs set spec = (spec::jsonb || '{"permissionPolicy": {"ask": ["edit"], "deny": []}}')::json where id = $1`,
        [id],
      ),
    );
    expect((await served.client.runs.get(id)).permissionPolicy).toEqual({
      ask: ["edit"],
      deny: [],
      rules: [{ decision: "ask", kinds: ["edit"], name: "ask" }],
      default: "allow",
    });
  });

  test("whose rules are silent falls back to what a run without one would get: here, without isolation", async () => {
    const run = await create({ rules: [{ decision: "allow", kinds: ["edit"], paths: ["src/**"] }] });
    expect(run.permissionPolicy).toMatchObject({ ask: ["edit", "delete", "move", "execute"], deny: [], default: "allow" });
    expect((await create()).permissionPolicy.ask).toEqual(run.permissionPolicy.ask);
  });

  test.each<[string, unknown, string]>([
    ["no object", 7, "permissionPolicy"],
    ["an unknown field", { allow: ["edit"] }, "permissionPolicy.allow"],
    ["an unknown default", { default: "maybe" }, "permissionPolicy.default"],
    ["rules that are no list", { rules: {} }, "permissionPolicy.rules"],
    ["a rule without a decision", { rules: [{ kinds: ["edit"] }] }, "permissionPolicy.rules[0].decision"],
    ["an unknown decision", { rules: [{ decision: "deny" }, { decision: "no" }] }, "permissionPolicy.rules[1].decision"],
    ["an unknown field of a rule", { rules: [{ decision: "deny", command: "x" }] }, "permissionPolicy.rules[0].command"],
    ["an unknown kind", { rules: [{ decision: "deny", kinds: ["edit", "hack"] }] }, "permissionPolicy.rules[0].kinds[1]"],
    ["no kinds", { rules: [{ decision: "deny", kinds: [] }] }, "permissionPolicy.rules[0].kinds"],
    ["no paths", { rules: [{ decision: "deny", paths: [] }] }, "permissionPolicy.rules[0].paths"],
    ["an empty path", { rules: [{ decision: "deny", paths: ["a", ""] }] }, "permissionPolicy.rules[0].paths[1]"],
    ["a path that goes up", { rules: [{ decision: "deny", paths: ["a/../b"] }] }, "permissionPolicy.rules[0].paths[0]"],
    ["a blank command", { rules: [{ decision: "deny", commands: [" "] }] }, "permissionPolicy.rules[0].commands[0]"],
    ["a long command", { rules: [{ decision: "deny", commands: ["x".repeat(2_001)] }] }, "permissionPolicy.rules[0].commands[0]"],
    ["too many commands", { rules: [{ decision: "deny", commands: Array(65).fill("x") }] }, "permissionPolicy.rules[0].commands"],
    ["too many rules", { rules: Array.from({ length: 101 }, () => ({ decision: "deny" })) }, "permissionPolicy.rules"],
    [
      "too much of patterns",
      { rules: Array.from({ length: 3 }, () => ({ decision: "deny", commands: ["x".repeat(2_000)] })) },
      "permissionPolicy.rules",
    ],
    ["a name of two lines", { rules: [{ decision: "deny", name: "a\nb" }] }, "permissionPolicy.rules[0].name"],
    ["a blank name", { rules: [{ decision: "deny", name: " " }] }, "permissionPolicy.rules[0].name"],
  ])("with %s is refused, and the field is named", async (_, policy, path) => {
    await expect(create(policy as PermissionPolicyRequest)).rejects.toMatchObject({
      status: 422,
      code: "invalid_request",
      errors: expect.arrayContaining([expect.objectContaining({ path })]) as unknown,
    });
  });
});

const OPTIONS = [
  { id: "yes", kind: "allow_once", name: "Allow" },
  { id: "no", kind: "reject_once", name: "Refuse" },
];
const COMMAND: AskedCall = { kind: "execute", paths: [], command: "rm -r *.log; ls", isWhole: true };

function asked(offset: number, call: AskedCall | null = COMMAND): NewRequest {
  const id = `perm_1_${offset}`;
  const payload = { options: OPTIONS, ...(call && { call: { ...call } }) };
  return { kind: "permission", id, offset, rpcId: offset, title: "rm", toolKind: call?.kind ?? "other", payload };
}

async function log(id: string, limit = 100): Promise<RunEvent[]> {
  const response = await fetch(`${served.door.url}/v1/agent-runs/${id}/events?limit=${limit}`, {
    headers: { authorization: "Bearer token-a", accept: "application/json" },
  });
  return ((await response.json()) as { data: RunEvent[] }).data;
}

describe("an answer", () => {
  test("that is remembered adds a rule in front, says who gave it, and reaches the agent once", async () => {
    const { id } = await create({ ask: ["execute"] });
    const run = await served.claim(id);
    await commitStep(served.database.db, { run, outTo: 200, requests: [asked(60), asked(120)] });
    const after = await served.client.runs.answerPermission(id, "perm_1_60", "allow", { remember: true });
    expect(after.permissionPolicy.rules?.map((rule) => rule.name)).toEqual(["answer to perm_1_60", "ask"]);
    expect(after.waitingFor.map((request) => request.id)).toEqual(["perm_1_120"]);
    const stored = await reloadRun(served.database.db, run);
    const policy = normalizePolicy(stored?.spec.permissionPolicy ?? {});
    expect(decidePermission(policy, COMMAND)).toEqual({ verdict: "allow", rule: "answer to perm_1_60" });
    expect(decidePermission(policy, { ...COMMAND, command: "rm -r a.log; ls" }).verdict).toBe("ask");
    const events = await log(id);
    expect(events.map((event) => event.seq)).toEqual(events.map((_, index) => index + 1));
    expect(after.lastSeq).toBe(events.length);
    const person = { userId: "user_org_a", userName: expect.any(String) as unknown };
    expect(events.slice(-2)).toMatchObject([
      { type: "permission.resolved", data: { permissionId: "perm_1_60", decision: "allow", by: "person", ...person } },
      {
        type: "permission.rule_added",
        data: {
          permissionId: "perm_1_60",
          rule: { decision: "allow", kinds: ["execute"], commands: [String.raw`rm -r \*.log; ls`], name: "answer to perm_1_60" },
          ...person,
        },
      },
    ]);
    expect(await readInputs(served.database.db, { run, from: 0 })).toHaveLength(1);
    // The whole log is of the contract's shapes.
    const seen: string[] = [];
    for await (const event of served.client.runs.events(id, { after: events.length - 2 })) {
      seen.push(event.type);
      if (seen.length === 2) break;
    }
    expect(seen).toEqual(["permission.resolved", "permission.rule_added"]);
  });

  test("counts once when two come at once, and the rule is the first one's", async () => {
    const { id } = await create({ ask: ["execute"] });
    const run = await served.claim(id);
    await commitStep(served.database.db, { run, outTo: 200, requests: [asked(60)] });
    const decisions = ["allow", "deny", "allow", "deny"] as const;
    const results = await Promise.allSettled(
      decisions.map((decision) => served.client.runs.answerPermission(id, "perm_1_60", decision, { remember: true })),
    );
    const won = results.findIndex((result) => result.status === "fulfilled");
    const refusals = results.flatMap((result) => (result.status === "rejected" ? [(result.reason as { code: string }).code] : []));
    expect(refusals).toEqual(["already_answered", "already_answered", "already_answered"]);
    const { permissionPolicy } = await served.client.runs.get(id);
    expect(permissionPolicy.rules?.map((rule) => rule.decision)).toEqual([decisions[won], "ask"]);
    expect((await log(id)).filter((event) => event.type === "permission.rule_added")).toHaveLength(1);
  });

  test.each<[string, AskedCall | null]>([
    ["names neither a command nor a path", { kind: "fetch", paths: [], command: null, isWhole: true }],
    ["is too long", { ...COMMAND, isWhole: false }],
    ["was asked by a version without rules", null],
  ])("to a call that %s cannot be remembered; it stays open, and may be given once", async (_, call) => {
    const { id } = await create({ ask: ["execute"] });
    const run = await served.claim(id);
    await commitStep(served.database.db, { run, outTo: 200, requests: [asked(60, call)] });
    await expect(served.client.runs.answerPermission(id, "perm_1_60", "allow", { remember: true })).rejects.toMatchObject({
      status: 422,
      errors: [{ path: "remember" }],
    });
    expect((await served.client.runs.answerPermission(id, "perm_1_60", "allow")).waitingFor).toEqual([]);
  });

  test("for which the policy has no room is not given, and may be given once", async () => {
    const rules = Array.from({ length: 99 }, (): PermissionRule => ({ decision: "deny", kinds: ["fetch"] }));
    const { id } = await create({ rules, ask: ["execute"] });
    const run = await served.claim(id);
    await commitStep(served.database.db, { run, outTo: 200, requests: [asked(60)] });
    const before = await log(id);
    await expect(served.client.runs.answerPermission(id, "perm_1_60", "allow", { remember: true })).rejects.toMatchObject({
      status: 422,
      message: expect.stringContaining("no room") as unknown,
    });
    expect(await log(id)).toEqual(before);
    expect((await served.client.runs.answerPermission(id, "perm_1_60", "allow")).waitingFor).toEqual([]);
  });
});

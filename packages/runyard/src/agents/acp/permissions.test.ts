import type { PermissionPolicy } from "@runyard/sdk/contract";
import { describe, expect, it } from "vitest";
import { normalizePolicy } from "../../core/permission-policy.ts";
import { permissionAnswer, type ConversationSpec, type NewRequest } from "./conversation.ts";
import type { Json } from "./json.ts";
import { dataOf, permission, play, playTurn, SPEC, journal, INITIALIZED, OPENED, update } from "./testing/play.ts";

const ALL = [
  { optionId: "always", kind: "allow_always", name: "Always" },
  { optionId: "once", kind: "allow_once", name: "Once" },
  { optionId: "never", kind: "reject_always", name: "Never" },
  { optionId: "no", kind: "reject_once", name: "No" },
];
const PERSON = { userId: "user_1", userName: "Ada" };
const NO_RM = { decision: "deny" as const, kinds: ["execute" as const], commands: ["rm *"], name: "no rm" };
const REFUSED_BY = (rule: string): Json => ({
  "runyard/reason": `The permission policy of this run refuses this, by its rule "${rule}".`,
});
const REFUSED_BY_DEFAULT = { "runyard/reason": "The permission policy of this run refuses what it does not allow." };
const EXECUTE = { toolCallId: "t", title: "rm -r x", kind: "execute", rawInput: { command: "rm -r x" } };

function withPolicy(policy: Partial<PermissionPolicy>): ConversationSpec {
  return { ...SPEC, policy: normalizePolicy(policy) };
}

function asked(options: Json, rpcId: Json = 0): NewRequest {
  const [request] = playTurn([permission(rpcId, { toolCall: EXECUTE, options })], withPolicy({ ask: ["execute"] })).requests;
  if (!request) throw new Error("nothing was asked");
  return request;
}

describe("the policy", () => {
  it.each<[string, Partial<PermissionPolicy>, string, Json, string]>([
    ["default", {}, "allow", { outcome: { outcome: "selected", optionId: "once" } }, "once"],
    [
      "deny",
      { ask: ["execute"], deny: ["execute"] },
      "deny",
      { outcome: { outcome: "selected", optionId: "no" }, _meta: REFUSED_BY("deny") },
      "no",
    ],
    ["no rm", { rules: [NO_RM] }, "deny", { outcome: { outcome: "selected", optionId: "no" }, _meta: REFUSED_BY("no rm") }, "no"],
    ["default", { default: "deny" }, "deny", { outcome: { outcome: "selected", optionId: "no" }, _meta: REFUSED_BY_DEFAULT }, "no"],
  ])("decides at once by %j, and says so", (rule, policy, decision, result, optionId) => {
    const played = playTurn([permission("p", { toolCall: EXECUTE, options: ALL })], withPolicy(policy));
    expect(played.requests).toEqual([]);
    expect(played.lines.map((line) => JSON.parse(line) as Json)).toEqual([{ jsonrpc: "2.0", id: "p", result }]);
    expect(dataOf(played.events, "permission.resolved")).toEqual([{ permissionId: "perm_1_1000", decision, optionId, by: "policy", rule }]);
  });

  it("asks with the files that it is about, where the agent's words do not name them", () => {
    const call = update("tool_call", { toolCallId: "t", title: "Editing", kind: "edit", locations: [{ path: "/w/a" }, { path: "/w/b" }] });
    const titleOf = (title: string): string | undefined => {
      const request = permission(0, { toolCall: { toolCallId: "t", title, kind: "edit" }, options: ALL });
      return playTurn([call, request], withPolicy({ ask: ["edit"] })).requests[0]?.title;
    };
    expect(titleOf("Edit files")).toBe("Edit files\n/w/a\n/w/b");
    expect(titleOf("Edit /w/a, /w/b")).toBe("Edit /w/a, /w/b");
  });

  it("asks a person, and sends nothing until then", () => {
    const played = playTurn([permission(7, { toolCall: EXECUTE, options: ALL })], withPolicy({ ask: ["execute"] }));
    expect(played.lines).toEqual([]);
    expect(dataOf(played.events, "permission.requested")).toEqual([
      {
        permissionId: "perm_1_1000",
        toolCallId: "t",
        title: "rm -r x",
        kind: "execute",
        decidedBy: "person",
        options: ALL.map(({ optionId, kind, name }) => ({ id: optionId, kind, name })),
      },
    ]);
    expect(dataOf(played.events, "permission.resolved")).toEqual([]);
    expect(played.requests).toMatchObject([
      { kind: "permission", id: "perm_1_1000", offset: 1000, rpcId: 7, title: "rm -r x", toolKind: "execute" },
    ]);
  });

  it("goes by the kind of the call where the request names none", () => {
    const known = update("tool_call", { toolCallId: "t", title: "cmd", kind: "execute" });
    const played = playTurn([known, permission(1, { toolCall: { toolCallId: "t" }, options: ALL })], withPolicy({ deny: ["execute"] }));
    expect(dataOf(played.events, "permission.requested")[0]).toMatchObject({ kind: "execute", title: "cmd", decidedBy: "policy" });
    expect(dataOf(played.events, "permission.resolved")[0]?.decision).toBe("deny");
  });

  it("takes an unknown kind for other", () => {
    const played = playTurn(
      [permission(1, { toolCall: { toolCallId: "t", kind: "hack" }, options: ALL })],
      withPolicy({ deny: ["other"] }),
    );
    expect(dataOf(played.events, "permission.resolved")[0]?.decision).toBe("deny");
  });
});

describe("the identity of a request", () => {
  it("is its place in the journal, though the agent uses one id again and again", () => {
    const line = permission(0, { toolCall: EXECUTE, options: ALL });
    const lines = journal([INITIALIZED, OPENED, line, line]);
    const played = play(lines, { spec: { ...withPolicy({ ask: ["execute"] }), attempt: 3 } });
    expect(played.requests.map((request) => request.id)).toEqual([`perm_3_${lines[2]?.offset}`, `perm_3_${lines[3]?.offset}`]);
    expect(played.requests.map((request) => request.rpcId)).toEqual([0, 0]);
  });

  it.each<[Json]>([[0], ["0"], [null], ["a-b"], [1.5]])("is answered with the id %j as it came", (rpcId) => {
    expect((JSON.parse(permissionAnswer(asked(ALL, rpcId), "allow", PERSON).line) as { id: Json }).id).toBe(rpcId);
  });
});

describe("a person's answer", () => {
  it.each<[string, readonly string[], "allow" | "deny", string | null, string]>([
    ["once before always", ["always", "once", "never", "no"], "allow", "once", "allow"],
    ["always where there is no once", ["no", "always"], "allow", "always", "allow"],
    ["no once before never", ["always", "once", "never", "no"], "deny", "no", "deny"],
    ["never where there is no other refusal", ["once", "never"], "deny", "never", "deny"],
    ["a refusal that is not offered is still one", ["once", "always"], "deny", null, "deny"],
    ["consent that is not offered is none", ["no", "never"], "allow", null, "cancelled"],
    ["nothing is offered", [], "allow", null, "cancelled"],
  ])("takes the nearest option: %s", (_name, offered, decision, optionId, said) => {
    const answer = permissionAnswer(asked(ALL.filter((option) => offered.includes(option.optionId))), decision, PERSON);
    expect(answer.optionId).toBe(optionId);
    expect(answer.event).toEqual({
      type: "permission.resolved",
      data: { permissionId: "perm_1_1000", decision: said, optionId, by: "person", userId: "user_1", userName: "Ada" },
    });
    const outcome = optionId === null ? { outcome: "cancelled" } : { outcome: "selected", optionId };
    const result = said === "deny" ? { outcome, _meta: { "runyard/reason": "A person refused this." } } : { outcome };
    expect(JSON.parse(answer.line)).toEqual({ jsonrpc: "2.0", id: 0, result });
    expect(answer.line).toMatch(/\}\n$/);
  });

  it("is the same after the request was stored", () => {
    const request = asked(ALL);
    const stored = JSON.parse(JSON.stringify(request)) as NewRequest;
    expect(permissionAnswer(stored, "allow", PERSON)).toEqual(permissionAnswer(request, "allow", PERSON));
  });

  it("never takes an option whose kind nobody knows", () => {
    const odd = asked([{ optionId: "yes!", kind: "allow_sometimes", name: "?" }, { optionId: 7, kind: "allow_once" }, 7, {}]);
    expect(permissionAnswer(odd, "allow", PERSON).optionId).toBeNull();
  });
});

describe("odd requests", () => {
  it.each<[string, { readonly [key: string]: Json }]>([
    ["no tool call", { options: ALL }],
    ["a tool call that is no object", { toolCall: 7, options: ALL }],
    ["no options", { toolCall: EXECUTE }],
    ["options that are no list", { toolCall: EXECUTE, options: "yes" }],
    ["nothing", {}],
  ])("are answered all the same: %s", (_name, params) => {
    const played = playTurn([permission(1, params)]);
    expect(played.lines).toHaveLength(1);
    expect(dataOf(played.events, "permission.requested")).toHaveLength(1);
  });

  it("show the command that the agent's title hides", () => {
    const toolCall = { toolCallId: "t", kind: "execute", title: "Tidy up", rawInput: { command: "rm -rf /" } };
    const [request] = playTurn([permission(1, { toolCall, options: ALL })], withPolicy({ ask: ["execute"] })).requests;
    expect(request?.title).toBe("Tidy up\nrm -rf /");
  });
});

import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { API_ERRORS, type Route, type RouteName, ROUTES } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { openRecordings } from "../gateway/recordings.ts";
import { plantRecording } from "../gateway/testing/recording.ts";
import { openApiDocument } from "./openapi.ts";
import { openEvents, until } from "./testing/door.ts";
import { addSnapshot } from "../store/snapshots.ts";
import { serve, type Served } from "./testing/served.ts";

type Schema = Record<string, unknown>;
interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required: boolean;
  readonly schema: Schema;
}
interface Answer {
  readonly description: string;
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}
interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly parameters: readonly Parameter[];
  readonly requestBody?: { readonly required: boolean; readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<Record<string, Answer>>;
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
}
interface Document {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly servers: readonly { readonly url: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>>; readonly securitySchemes: Readonly<Record<string, unknown>> };
}

const document = openApiDocument({ version: "1.2.3", url: "http://127.0.0.1:4600" }) as unknown as Document;
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
);
const routes = Object.entries(ROUTES) as [RouteName, Route][];

function operationOf(name: RouteName): Operation {
  const found = operations.find(({ operation }) => operation.operationId === name);
  if (found === undefined) throw new Error(`the document has no ${name}`);
  return found.operation;
}

describe("the document", () => {
  test("is OpenAPI 3.1 with what that asks for", () => {
    expect(document).toMatchObject({
      openapi: "3.1.0",
      info: { title: "Runyard", version: "1.2.3" },
      servers: [{ url: "http://127.0.0.1:4600" }],
    });
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, operation } of operations) {
      expect(operation.summary.length).toBeGreaterThan(5);
      expect(operation.tags).toHaveLength(1);
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const inPath = operation.parameters.filter((parameter) => parameter.in === "path");
      expect([path, inPath.map(({ name }) => name)]).toEqual([path, named]);
      expect(inPath.every(({ required }) => required)).toBe(true);
      expect(new Set(operation.parameters.map((parameter) => `${parameter.in} ${parameter.name}`)).size).toBe(operation.parameters.length);
      for (const [status, answer] of Object.entries(operation.responses)) {
        expect(status).toMatch(/^(101|[2345]\d\d)$/);
        expect(answer.description).not.toBe("");
        for (const { schema } of Object.values(answer.content ?? {})) expect(schema).toBeTypeOf("object");
      }
    }
  });

  test("points at nothing that is not in it, and describes no reference from elsewhere", () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]*)"/g)].map(([, reference = ""]) => reference);
    expect(references.length).toBeGreaterThan(20);
    for (const reference of references) {
      const [, name = ""] = /^#\/components\/schemas\/(\w+)$/.exec(reference) ?? [];
      expect([reference, Object.hasOwn(document.components.schemas, name)]).toEqual([reference, true]);
    }
    expect(JSON.stringify(document)).not.toMatch(/"\$id"|"\$schema"|"\$defs"/);
  });

  test("says the unit of every time whose name does not", () => {
    const silent: string[] = [];
    JSON.stringify(document, function (this: unknown, name: string, value: unknown) {
      const schema = value as Schema | null;
      const kinds = [schema?.["type"], ...((schema?.["anyOf"] ?? []) as Schema[]).map(({ type }) => type)];
      if (/^(timeout|\w+Timeout|agentWait|executionTime)$/.test(name) && kinds.some((kind) => kind === "integer" || kind === "number"))
        if (!JSON.stringify(schema).includes("milliseconds")) silent.push(name);
      return value;
    });
    expect(silent).toEqual([]);
  });

  test("has every route of the table, with its policy, and no other", () => {
    expect(operations.map(({ method, path }) => `${method} ${path}`).sort()).toEqual(
      routes.map(([, { method, path }]) => `${method} ${path}`).sort(),
    );
    for (const [name, route] of routes) {
      const operation = operationOf(name);
      const security = route.policy === "public" ? [] : [{ token: [route.policy.scope] }, { session: [] }];
      expect([name, operation.security, operation.summary]).toEqual([name, security, route.summary]);
      for (const scheme of security.flatMap(Object.keys)) expect(document.components.securitySchemes).toHaveProperty(scheme);
      expect([name, operation.requestBody !== undefined]).toEqual([
        name,
        /^(create|estimate|change|set|continue|resume|answer|confirm|reject|revise|openShell|stop|allow)/.test(name),
      ]);
    }
  });

  test("names errors with the status that they have", () => {
    const codes = new Set<string>();
    for (const { operation } of operations) {
      for (const [status, { content }] of Object.entries(operation.responses)) {
        const schema = content?.["application/problem+json"]?.schema as
          | { allOf: [Schema, { properties: { code: { enum: string[] } } }] }
          | undefined;
        for (const code of schema?.allOf[1].properties.code.enum ?? []) {
          codes.add(code);
          expect([code, String(API_ERRORS[code as keyof typeof API_ERRORS].status)]).toEqual([code, status]);
        }
      }
    }
    // A path that is not there, and a method that it does not take, belong to no route.
    expect([...codes, "method_not_allowed"].sort()).toEqual(Object.keys(API_ERRORS).sort());
  });

  test("asks for what the server asks for", () => {
    const body = operationOf("createRun").requestBody?.content["application/json"]?.schema as {
      required: string[];
      additionalProperties: boolean;
    };
    expect(body).toMatchObject({ required: ["task", "repositoryUrl"], additionalProperties: false });
    const optional = operations.filter(({ operation }) => operation.requestBody?.required === false);
    expect(optional.map(({ operation }) => operation.operationId)).toEqual([
      "rejectRun",
      "openShell",
      "changePullRequest",
      "confirmPlan",
      "rejectPlan",
    ]);
    const limit = operationOf("listRuns").parameters.find(({ name }) => name === "limit");
    expect(limit).toMatchObject({ in: "query", required: false, schema: { type: "integer", minimum: 1, maximum: 100, default: 20 } });
  });
});

/** A schema of the document that refuses fields which it does not name, as one that stands alone. */
function strict(schema: Schema): z.ZodType {
  const own = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(own);
    if (typeof value !== "object" || value === null) return value;
    const copy = Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, own(inner)]));
    if (typeof copy["$ref"] === "string") copy["$ref"] = copy["$ref"].replace("#/components/schemas/", "#/$defs/");
    const isShape = copy["type"] === "object" && typeof copy["properties"] === "object" && !("additionalProperties" in copy);
    return isShape ? { ...copy, additionalProperties: false } : copy;
  };
  return z.fromJSONSchema({ ...(own(schema) as Schema), $defs: own(document.components.schemas) } as Parameters<
    typeof z.fromJSONSchema
  >[0]);
}

/** What the document says of an answer; throws where it says nothing of it. */
function described(name: RouteName, response: Response): z.ZodType | undefined {
  const answer = operationOf(name).responses[response.status];
  if (answer === undefined) throw new Error(`${name} answered ${response.status}, which the document does not have`);
  if (answer.content === undefined) return undefined;
  const type = response.headers.get("content-type")?.split(";")[0] ?? "";
  const found = answer.content[type];
  if (found === undefined) throw new Error(`${name} answered ${response.status} with ${type}, which the document does not have`);
  if (type === "application/problem+json") return strict(document.components.schemas["Problem"] ?? {});
  return type === "application/json" ? strict(found.schema) : undefined;
}

describe("real answers", () => {
  const gatewayDir = mkdtempSync(join(tmpdir(), "ry-openapi-"));
  let served: Served;
  beforeAll(async () => {
    served = await serve({ recordings: { runnerId: "runner", ...openRecordings(gatewayDir) } });
  });
  afterAll(async () => {
    await served?.close();
    rmSync(gatewayDir, { recursive: true, force: true });
  });

  async function call(
    name: RouteName,
    params: Record<string, string> = {},
    init: { query?: string; body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<Response> {
    const { method, path } = ROUTES[name];
    const target = path.replaceAll(/\{(\w+)\}/g, (_, key: string) => params[key] ?? "");
    const body = init.body === undefined ? {} : { body: JSON.stringify(init.body) };
    const headers = {
      authorization: "Bearer token-a",
      ...(init.body !== undefined && { "content-type": "application/json" }),
      ...init.headers,
    };
    const response = await fetch(`${served.door.url}${target}${init.query ?? ""}`, { method, headers, redirect: "manual", ...body });
    const schema = described(name, response);
    if (schema === undefined) return response;
    // Not cloned: in Node.js 20.19 a clone that nobody has any more can take the body of the other one with it.
    const text = await response.text();
    const parsed = schema.safeParse(JSON.parse(text));
    expect([name, response.status, parsed.error?.issues ?? []]).toEqual([name, response.status, []]);
    return new Response(text, response);
  }

  test("are as the document says, on every route", async () => {
    const seen = new Set<RouteName>();
    const look = async (name: RouteName, ...rest: [Record<string, string>?, Parameters<typeof call>[2]?]): Promise<Response> => {
      seen.add(name);
      return call(name, ...rest);
    };
    const created = await look("createRun", {}, { body: { task: "x", repositoryUrl: "/r" } });
    await look("estimateRun", {}, { body: { task: "x", repositoryUrl: "/r" } });
    const { id } = (await created.json()) as { id: string };
    expect((await look("approveRun", { id })).status).toBe(409);
    const dear = await call("createRun", {}, { body: { task: "x", repositoryUrl: "/r", settings: { approvalAboveUsd: 0 } } });
    const { id: waits } = (await dear.json()) as { id: string };
    expect((await look("runEvents", { id: waits })).status).toBe(200);
    expect((await look("rejectRun", { id: waits })).status).toBe(202);
    expect((await look("changePullRequest", { id })).status).toBe(409);
    expect((await look("stopPullRequest", {}, { body: { pullRequest: id } })).status).toBe(409);
    expect((await look("allowPullRequest", {}, { body: { pullRequest: id } })).status).toBe(409);
    expect((await look("openShell", { id }, { body: { command: ["ls"] } })).status).toBe(409);
    expect((await look("runWorkspace", { id })).status).toBe(409);
    expect((await look("workspaceFile", { id, path: "a" })).status).toBe(409);
    expect((await look("workspaceArchive", { id })).status).toBe(409);
    const run = await served.claim(id);
    await served.say(run, [
      { type: "message.completed", data: { messageId: "m", kind: "text", text: "Hello" } },
      { type: "log", data: { text: "stray" } },
    ]);
    for (const name of ["getRun", "runLogs", "runFiles", "runDiff", "runUsage", "runMetrics", "runPatch"] as const)
      await look(name, { id });
    expect((await look("runBundle", { id })).status).toBe(409);
    await look("runLogs", { id }, { headers: { accept: "text/plain" } });
    await look("runEvents", { id });
    expect((await look("runStream", { id })).status).toBe(426);
    for (const name of ["listRuns", "serverStatus", "listModels", "openapi", "home", "livez", "readyz"] as const) await look(name);
    expect((await look("runFile", { id, path: "src/a.ts" })).status).toBe(404);
    expect((await look("answerPermission", { id, pid: "perm_1_2" }, { body: { decision: "allow" } })).status).toBe(404);
    expect((await look("answerQuestion", { id, qid: "ask_1_2" }, { body: { answer: "yes" } })).status).toBe(404);
    expect((await look("runPlan", { id })).status).toBe(200);
    expect((await look("confirmPlan", { id })).status).toBe(409);
    expect((await look("rejectPlan", { id }, { body: { reason: "No" } })).status).toBe(409);
    expect((await look("revisePlan", { id }, { body: { feedback: "Shorter" } })).status).toBe(409);
    const { id: rid } = (await (await look("createRepository", {}, { body: { repositoryUrl: "/r" } })).json()) as { id: string };
    await look("changeRepository", { rid }, { body: { plan: false, planningStatement: "Name the tests." } });
    expect((await look("getRepository", { rid })).status).toBe(200);
    expect((await look("getRepository", { rid: "repo_x" })).status).toBe(404);
    await look("listRepositories");
    const mcpServers = [{ name: "docs", url: "http://docs.test/mcp", headers: { authorization: "Bearer x" } }];
    const agent = {
      name: "whole",
      model: "m",
      permissionPolicy: { ask: ["edit"] },
      mcpServers,
      settings: { timeout: 5_000 },
      budget: { usd: 1 },
    };
    const { id: aid } = (await (await look("createAgent", {}, { body: agent })).json()) as { id: string };
    expect((await look("createAgent", {}, { body: agent })).status).toBe(409);
    expect((await look("changeAgent", { aid }, { body: { plan: true } })).status).toBe(200);
    await look("createRun", {}, { body: { task: "x", repositoryUrl: "/r", agent: { name: "whole" }, context: { a: [1] }, files: ["a"] } });
    await look("listAgents");
    expect((await look("getAgent", { aid: "whole" })).status).toBe(200);
    expect((await look("deleteAgent", { aid })).status).toBe(204);
    expect((await look("getAgent", { aid })).status).toBe(404);
    const secret = { name: "TOKEN", value: "decoy-value" };
    const { id: sid } = (await (await look("setSecret", {}, { body: secret })).json()) as { id: string };
    expect((await look("setSecret", {}, { body: { ...secret, value: "short" } })).status).toBe(422);
    await look("createRun", {}, { body: { task: "x", repositoryUrl: "/r", environment: { A: "b" }, secrets: ["TOKEN"] } });
    expect((await look("createRun", {}, { body: { task: "x", repositoryUrl: "/r", secrets: ["NONE"] } })).status).toBe(422);
    await look("listSecrets");
    const token = { kind: "token", url: "https://git.example.com", token: "decoy-value" };
    const { id: cid } = (await (await look("setCredential", {}, { body: token })).json()) as { id: string };
    expect((await look("setCredential", {}, { body: { ...token, kind: "other" } })).status).toBe(422);
    await look("listCredentials");
    expect([(await look("deleteCredential", { cid })).status, (await look("deleteCredential", { cid })).status]).toEqual([204, 404]);
    expect([(await look("deleteSecret", { sid })).status, (await look("deleteSecret", { sid })).status]).toEqual([204, 404]);
    const setup = { commands: ["npm ci"], cacheKey: "v1" };
    await look("changeRepository", { rid }, { body: { setup } });
    await look("createRun", {}, { body: { task: "x", repositoryUrl: "/r", setup: { commands: ["true"] } } });
    await look("listSnapshots");
    const snid = "snap_01k00000000000000000000000";
    for (const name of ["getSnapshot", "deleteSnapshot"] as const) expect((await look(name, { snid })).status).toBe(404);
    const key = { orgId: "org_a", repositoryUrl: "/r", cacheKey: "v1", driver: "bwrap", commandsHash: "x", runnerId: "runner" };
    const made = { id: snid, commands: ["npm ci"], runId: id, bytes: 4_096, files: 1, fingerprint: "x" };
    expect(await addSnapshot(served.database.db, { ...key, ...made })).toBe(true);
    // Another organization's is not there.
    expect((await served.ask("GET", `/snapshots/${snid}`, { token: "token-b" })).status).toBe(404);
    expect((await served.ask("DELETE", `/snapshots/${snid}`, { token: "token-b" })).status).toBe(404);
    expect((await served.ask("GET", "/snapshots", { token: "token-b" })).body["data"]).toEqual([]);
    expect((await look("getSnapshot", { snid })).status).toBe(200);
    await look("listSnapshots");
    for (const name of ["getSnapshot", "deleteSnapshot", "getSnapshot"] as const) await look(name, { snid });
    await look("changeOrganization", {}, { body: { planFirst: false } });
    await look("getOrganization");
    await look("cancelRun", { id });
    await served.complete(run);
    expect((await look("replayRun", { id })).status).toBe(409);
    plantRecording(gatewayDir, id);
    await look("runExchanges", { id });
    for (const xid of ["1-ab", "2-ab", "3-ab"]) expect((await look("runExchange", { id, xid })).status).toBe(200);
    for (const name of ["runExchangeRequest", "runExchangeResponse"] as const)
      expect([(await look(name, { id, xid: "1-ab" })).status, (await look(name, { id, xid: "3-ab" })).status]).toEqual([200, 404]);
    const replay = (await (await look("replayRun", { id })).json()) as { id: string };
    await look("getRun", { id: replay.id });
    await served.complete(await served.claim(replay.id));
    expect((await look("continueRun", { id: replay.id }, { body: { prompt: "Go on" } })).status).toBe(409);
    expect((await look("continueRun", { id }, { body: { prompt: "Go on" } })).status).toBe(202);
    expect((await look("resumeRun", { id }, { body: { prompt: "Go on" } })).status).toBe(409);
    const link = (await (await look("createLoginLink", {}, { body: {} })).json()) as { url: string };
    const login = await look("login", {}, { query: new URL(link.url).search });
    expect((await look("login", {}, { query: new URL(link.url).search })).status).toBe(410);
    expect((await look("docs", {}, { headers: { authorization: "none" } })).status).toBe(401);
    await look("docs", {}, { headers: { cookie: login.headers.get("set-cookie")?.split(";")[0] ?? "", authorization: "Bearer token-a" } });
    await look("docsFile", { file: "start.js" });
    await look("docsFile", { file: "swagger-ui.css" });
    await look("docsFile", { file: "nothing" });
    await look("logout");
    expect([...seen].sort()).toEqual(routes.map(([name]) => name).sort());
  });

  test("of refusals too", async () => {
    const statuses = await Promise.all([
      call("createRun", {}, { body: { task: "" } }),
      call("createRun", {}, { body: "{" }),
      call("createRun", {}, { body: {}, headers: { "content-type": "text/plain" } }),
      call("listRuns", {}, { headers: { authorization: "Bearer nobody" } }),
      call("listRuns", {}, { query: "?limit=x" }),
      call("listRuns", {}, { headers: { origin: "https://evil.example" } }),
      call("getRun", { id: "run_x" }),
      call("runFile", { id: "run_x", path: "a%00b" }),
    ]);
    expect(statuses.map(({ status }) => status)).toEqual([422, 422, 415, 401, 422, 403, 404, 422]);
  });

  test("the control: an answer that is not as the document says is found", () => {
    const schema = strict(operationOf("livez").responses["200"]?.content?.["application/json"]?.schema ?? {});
    expect(schema.safeParse({ status: "ok", name: "runyard", version: "1" }).success).toBe(true);
    expect(schema.safeParse({ status: "ok", name: "runyard", version: "1", more: 1 }).success).toBe(false);
    expect(schema.safeParse({ status: "ok", name: "runyard" }).success).toBe(false);
    const problem = strict(document.components.schemas["Problem"] ?? {});
    expect(problem.safeParse({ code: "x", secret: randomBytes(4).toString("hex") }).success).toBe(false);
    const page = strict(document.components.schemas["EventPage"] ?? {});
    const event = { seq: 1, id: "i", runId: `run_0${"a".repeat(25)}`, turn: 1, attempt: 1, at: "2026-11-20T10:00:00.000Z" };
    const of = (data: unknown) => page.safeParse({ data: [{ ...event, type: "log", data }], has_more: false, next_after: 1 }).success;
    expect([of({ text: "x" }), of({ text: 1 }), of({ text: "x", more: 1 })]).toEqual([true, false, false]);
  });

  test("a browser that is signed in reads the document", async () => {
    const { url } = await served.client.createLoginLink();
    const cookie = (await fetch(url, { redirect: "manual" })).headers.get("set-cookie")?.split(";")[0] ?? "";
    const response = await fetch(`${served.door.url}/openapi.json`, { headers: { cookie } });
    const { servers, components } = (await response.json()) as Document;
    expect(servers).toEqual([{ url: served.door.url }]);
    expect(components.securitySchemes["session"]).toMatchObject({ type: "apiKey", in: "cookie", name: cookie.split("=")[0] });
    expect((await fetch(`${served.door.url}/openapi.json`)).status).toBe(401);
  });

  test("streams are as the document says", async () => {
    const { id } = await served.client.runs.create({ task: "x", repositoryUrl: "/r" });
    const socket = openEvents(served.door.port, `/v1/agent-runs/${id}/events`, { authorization: "Bearer token-a" });
    let text = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    await until(() => text.includes("message.user"));
    socket.destroy();
    const [, line = ""] = /data: (.*)\n/.exec(text) ?? [];
    expect(strict(document.components.schemas["RunEvent"] ?? {}).safeParse(JSON.parse(line)).error).toBeUndefined();
  });
});

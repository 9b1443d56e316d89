import { type Route, ROUTES } from "@runyard/sdk/contract";
import { Hono } from "hono";
import { describe, expect, test } from "vitest";
import type { ApiEnv, ApiHandler } from "./context.ts";
import { mountRoutes, requireInTable } from "./routes.ts";
import { openDoor, OWNER } from "./testing/door.ts";
import { SNAPSHOT } from "./testing/log-settings.ts";

const credentials = { authenticate: async () => OWNER, logins: { find: async () => null } };
const answer: ApiHandler = (c) => c.json({});
const all = Object.fromEntries(Object.keys(ROUTES).map((name) => [name, answer])) as Record<keyof typeof ROUTES, ApiHandler>;

describe("the route table", () => {
  test("mounts when handlers and table name the same routes", () => {
    expect(() => mountRoutes(new Hono<ApiEnv>(), ROUTES, { handlers: all, credentials })).not.toThrow();
  });

  test("an entry without a handler is refused", () => {
    const { cancelRun: _, ...rest } = all;
    expect(() => mountRoutes(new Hono<ApiEnv>(), ROUTES, { handlers: rest as typeof all, credentials })).toThrow(
      "The route cancelRun has no handler.",
    );
  });

  test("a handler without an entry is refused", () => {
    const more = { ...all, deleteEverything: answer };
    expect(() => mountRoutes(new Hono<ApiEnv>(), ROUTES, { handlers: more, credentials })).toThrow(
      "The handler deleteEverything has no entry",
    );
  });

  test("a route that goes around the table is refused", () => {
    const app = new Hono<ApiEnv>();
    mountRoutes(app, ROUTES, { handlers: all, credentials });
    expect(() => requireInTable(app, ROUTES)).not.toThrow();
    app.get("/v1/backdoor", answer);
    expect(() => requireInTable(app, ROUTES)).toThrow("GET /v1/backdoor is mounted without an entry");
  });

  test("each route is served, and the ones with a scope ask for a token that has it", async () => {
    const door = await openDoor();
    const { id } = door.engine.addRun(OWNER.orgId);
    const { id: rid } = await door.engine.createRepository(OWNER, { repositoryUrl: "/r" });
    const { id: aid } = await door.engine.createAgent(OWNER, { name: "agent" });
    const { id: sid } = await door.engine.setSecret(OWNER, { name: "TOKEN", value: "decoy-value" });
    const { id: cid } = await door.engine.setCredential(OWNER, { kind: "token", url: "https://git.example.com", token: "decoy-value" });
    for (const route of Object.values<Route>(ROUTES)) {
      const path = pathOf(route, { id, rid, aid, sid, cid, snid: SNAPSHOT.id });
      const call = (headers: Record<string, string>) => fetch(`${door.url}${path}`, { method: route.method, headers, redirect: "manual" });
      const served = await call({ authorization: "Bearer owner" });
      expect([path, [200, 201, 202, 204, 409, 410, 415, 422, 426].includes(served.status)]).toEqual([path, true]);
      if (route.policy === "public") {
        // The reference's page says to people how to sign in.
        expect([path, (await call({})).status]).toEqual([path, path === "/docs" ? 401 : served.status]);
        continue;
      }
      const anonymous = await call({});
      expect([path, anonymous.status]).toEqual([path, 401]);
      expect(anonymous.headers.get("www-authenticate")).toBe('Bearer realm="runyard"');
      const { scope } = route.policy;
      door.tokens.set("narrow", { ...OWNER, scopes: OWNER.scopes.filter((one) => one !== scope) });
      const narrow = await call({ authorization: "Bearer narrow" });
      expect([path, narrow.status]).toEqual([path, 403]);
      expect(narrow.headers.get("www-authenticate")).toContain(`scope="${scope}"`);
      door.tokens.set("exact", { ...OWNER, scopes: [scope] });
      expect([401, 403]).not.toContain((await call({ authorization: "Bearer exact" })).status);
    }
    await door.close();
  });

  test("a repository of another organization is not there, on any route", async () => {
    const door = await openDoor();
    const theirs = await door.engine.createRepository({ ...OWNER, orgId: "org_b" }, { repositoryUrl: "/r" });
    const mine = await door.engine.createRepository(OWNER, { repositoryUrl: "/r" });
    const routes = Object.values<Route>(ROUTES).filter(({ path }) => path.includes("{rid}"));
    expect(routes).toHaveLength(2);
    for (const route of routes) {
      const body = route.method === "PATCH" ? { body: "{}", headers: { "content-type": "application/json" } } : {};
      const ask = async (rid: string): Promise<unknown> => {
        const response = await door.fetch(pathOf(route, { rid }), { method: route.method, ...body });
        return [response.status, ((await response.json()) as { code?: string }).code];
      };
      for (const id of [theirs.id, "repo_x"]) expect(await ask(id)).toEqual([404, "repository_not_found"]);
      expect(await ask(mine.id)).toEqual([200, undefined]);
    }
    await door.close();
  });

  test("a run of another organization is not there, on any route", async () => {
    const door = await openDoor();
    const theirs = door.engine.addRun("org_b");
    const mine = door.engine.addRun(OWNER.orgId);
    const routes = Object.values<Route>(ROUTES).filter(({ path }) => path.includes("{id}"));
    expect(routes.length).toBeGreaterThanOrEqual(9);
    for (const route of routes) {
      const body = bodyOf(route);
      const init = { method: route.method, ...(body && { body: JSON.stringify(body), headers: { "content-type": "application/json" } }) };
      const ask = async (id: string): Promise<unknown> => {
        const response = await door.fetch(pathOf(route, { id }), init);
        const code = response.status < 400 ? null : ((await response.json()) as { code: string }).code;
        return [route.path, response.status, code];
      };
      expect(await ask(theirs.id)).toEqual([route.path, 404, "run_not_found"]);
      expect(await ask(mine.id)).not.toContain("run_not_found");
    }
    await door.close();
  });
});

/** What a route takes that wants a body. */
function bodyOf({ path }: Route): object | undefined {
  if (path.includes("{pid}")) return { decision: "allow" };
  if (path.includes("{qid}")) return { answer: "yes" };
  if (path.endsWith("/revise")) return { feedback: "Shorter" };
  return /\/(continue|resume)$/.test(path) ? { prompt: "Go on" } : undefined;
}

/** A path of the route, with something in the place of every parameter. */
function pathOf(route: Route, ids: Partial<Record<"id" | "rid" | "aid" | "sid" | "cid" | "snid", string>>): string {
  const values: Record<string, string> = { ...ids, pid: "perm_1_2", qid: "ask_1_2", xid: "1-ab", path: "src/index.ts", file: "start.js" };
  return route.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => values[name] ?? "");
}

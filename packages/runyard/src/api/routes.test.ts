import { ROUTES } from "@runyard/sdk/contract";
import { Hono } from "hono";
import { describe, expect, test } from "vitest";
import type { ApiEnv, ApiHandler } from "./context.ts";
import { mountRoutes, requireInTable } from "./routes.ts";
import { openDoor, OWNER } from "./testing/door.ts";

const authenticate = async () => OWNER;
const answer: ApiHandler = (c) => c.json({});
const all = Object.fromEntries(Object.keys(ROUTES).map((name) => [name, answer])) as Record<keyof typeof ROUTES, ApiHandler>;

describe("the route table", () => {
  test("mounts when handlers and table name the same routes", () => {
    expect(() => mountRoutes(new Hono<ApiEnv>(), ROUTES, { handlers: all, authenticate })).not.toThrow();
  });

  test("an entry without a handler is refused", () => {
    const { cancelRun: _, ...rest } = all;
    expect(() => mountRoutes(new Hono<ApiEnv>(), ROUTES, { handlers: rest as typeof all, authenticate })).toThrow(
      "The route cancelRun has no handler.",
    );
  });

  test("a handler without an entry is refused", () => {
    const more = { ...all, deleteEverything: answer };
    expect(() => mountRoutes(new Hono<ApiEnv>(), ROUTES, { handlers: more, authenticate })).toThrow(
      "The handler deleteEverything has no entry",
    );
  });

  test("a route that goes around the table is refused", () => {
    const app = new Hono<ApiEnv>();
    mountRoutes(app, ROUTES, { handlers: all, authenticate });
    expect(() => requireInTable(app, ROUTES)).not.toThrow();
    app.get("/v1/backdoor", answer);
    expect(() => requireInTable(app, ROUTES)).toThrow("GET /v1/backdoor is mounted without an entry");
  });

  test("each route is served, and the ones with a scope ask for a token that has it", async () => {
    const door = await openDoor();
    const { id } = door.engine.addRun(OWNER.orgId);
    for (const route of Object.values(ROUTES)) {
      const path = route.path.replace("{id}", id).replace("{pid}", "perm_1_2").replace("{qid}", "ask_1_2");
      const call = (headers: Record<string, string>) => fetch(`${door.url}${path}`, { method: route.method, headers });
      const { status } = await call({ authorization: "Bearer owner" });
      expect([200, 202, 415]).toContain(status);
      if (route.policy === "public") {
        expect((await call({})).status).toBe(200);
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
});

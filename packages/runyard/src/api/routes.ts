import { RunyardError, type Route } from "@runyard/sdk/contract";
import type { Hono } from "hono";
import type { ApiEnv, ApiHandler } from "./context.ts";
import { requireScope } from "./guard.ts";
import type { Credentials } from "./identify.ts";

type RouteTable = Readonly<Record<string, Route>>;

/**
 * Mounts every route of the table with its policy; any other method on one of its paths is 405.
 * Throws when the table and the handlers do not name the same routes.
 */
export function mountRoutes<T extends RouteTable>(
  app: Hono<ApiEnv>,
  table: T,
  options: { handlers: Readonly<Record<keyof T, ApiHandler>>; credentials: Credentials },
): void {
  const handlers: Readonly<Record<string, ApiHandler>> = options.handlers;
  for (const name of Object.keys(handlers)) {
    if (!Object.hasOwn(table, name)) throw new Error(`The handler ${name} has no entry in the route table.`);
  }
  for (const [name, route] of Object.entries(table)) {
    const handler = handlers[name];
    if (handler === undefined) throw new Error(`The route ${name} has no handler.`);
    const guarded = route.policy === "public" ? handler : requireScope(route.policy.scope, options.credentials, handler);
    app.on(route.method, pattern(route.path), guarded);
  }
  for (const path of pathsOf(table)) app.all(pattern(path), refuseMethod(table, path));
  requireInTable(app, table);
}

/** Throws for a route of the app that stands outside the table: it would have no policy. */
export function requireInTable(app: Hono<ApiEnv>, table: RouteTable): void {
  const known = new Set(Object.values(table).map((route) => `${route.method} ${pattern(route.path)}`));
  const paths = new Set(pathsOf(table).map(pattern));
  for (const { method, path } of app.routes) {
    const isMiddleware = method === "ALL" && path === "/*";
    const isRefusal = method === "ALL" && paths.has(path);
    if (!isMiddleware && !isRefusal && !known.has(`${method} ${path}`)) {
      throw new Error(`${method} ${path} is mounted without an entry in the route table, so it has no policy.`);
    }
  }
}

function pathsOf(table: RouteTable): string[] {
  return [...new Set(Object.values(table).map((route) => route.path))];
}

/** `{id}` as the router writes it; a `{path}` is all that is left of the path. */
function pattern(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, (_, name: string) => (name === "path" ? ":path{[\\s\\S]+}" : `:${name}`));
}

function refuseMethod(table: RouteTable, path: string): ApiHandler {
  const methods = Object.values(table)
    .filter((route) => route.path === path)
    .map((route) => route.method);
  const allow = methods.flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method])).join(", ");
  return (c) => {
    c.header("Allow", allow);
    throw new RunyardError("method_not_allowed", `This path takes ${allow}.`);
  };
}

/**
 * The route table: every route of the API with the scope that a token needs. The server refuses to
 * start with a route that is not in this table, and a test compares both.
 */
export const SCOPES = ["agent:read", "agent:write", "agent:execute", "organization:read", "organization:admin"] as const;
export type Scope = (typeof SCOPES)[number];

export type RoutePolicy = "public" | { readonly scope: Scope };

export interface Route {
  readonly method: "GET" | "POST";
  /** With parameters in braces. */
  readonly path: string;
  readonly policy: RoutePolicy;
  readonly summary: string;
}

export const ROUTES = {
  createRun: { method: "POST", path: "/v1/agent-runs", policy: { scope: "agent:execute" }, summary: "Create a run" },
  listRuns: { method: "GET", path: "/v1/agent-runs", policy: { scope: "agent:read" }, summary: "List runs, newest first" },
  getRun: { method: "GET", path: "/v1/agent-runs/{id}", policy: { scope: "agent:read" }, summary: "Read a run" },
  cancelRun: { method: "POST", path: "/v1/agent-runs/{id}/cancel", policy: { scope: "agent:write" }, summary: "Cancel a run" },
  runEvents: {
    method: "GET",
    path: "/v1/agent-runs/{id}/events",
    policy: { scope: "agent:read" },
    summary: "Read a run's log, live (SSE), as NDJSON or as JSON",
  },
  runPatch: {
    method: "GET",
    path: "/v1/agent-runs/{id}/patch",
    policy: { scope: "agent:read" },
    summary: "Read what a run changed, as a patch",
  },
  answerPermission: {
    method: "POST",
    path: "/v1/agent-runs/{id}/permissions/{pid}",
    policy: { scope: "agent:write" },
    summary: "Answer an agent's request for permission",
  },
  answerQuestion: {
    method: "POST",
    path: "/v1/agent-runs/{id}/questions/{qid}",
    policy: { scope: "agent:write" },
    summary: "Answer an agent's question",
  },
  livez: { method: "GET", path: "/livez", policy: "public", summary: "The process lives" },
  readyz: { method: "GET", path: "/readyz", policy: "public", summary: "The server can take work" },
} as const satisfies Record<string, Route>;
export type RouteName = keyof typeof ROUTES;

/**
 * The route table: every route of the API with the scope that a token needs. The server refuses to
 * start with a route that is not in this table, and a test compares both.
 */
export const SCOPES = ["agent:read", "agent:write", "agent:execute", "organization:read", "organization:admin"] as const;
export type Scope = (typeof SCOPES)[number];

export type RoutePolicy = "public" | { readonly scope: Scope };

export interface Route {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** With parameters in braces; `{path}` may hold slashes. */
  readonly path: string;
  readonly policy: RoutePolicy;
  readonly summary: string;
}

export const ROUTES = {
  createRun: { method: "POST", path: "/v1/agent-runs", policy: { scope: "agent:execute" }, summary: "Create a run" },
  estimateRun: {
    method: "POST",
    path: "/v1/agent-runs/estimate",
    policy: { scope: "agent:execute" },
    summary: "Estimate what a run would cost, without creating it",
  },
  listRuns: { method: "GET", path: "/v1/agent-runs", policy: { scope: "agent:read" }, summary: "List runs, newest first" },
  getRun: { method: "GET", path: "/v1/agent-runs/{id}", policy: { scope: "agent:read" }, summary: "Read a run" },
  cancelRun: { method: "POST", path: "/v1/agent-runs/{id}/cancel", policy: { scope: "agent:write" }, summary: "Cancel a run" },
  continueRun: {
    method: "POST",
    path: "/v1/agent-runs/{id}/continue",
    policy: { scope: "agent:execute" },
    summary: "Go on with a run whose turn has ended",
  },
  resumeRun: {
    method: "POST",
    path: "/v1/agent-runs/{id}/resume",
    policy: { scope: "agent:execute" },
    summary: "The same as continue",
  },
  approveRun: {
    method: "POST",
    path: "/v1/agent-runs/{id}/approve",
    policy: { scope: "agent:write" },
    summary: "Let a run begin that waits because of what it may cost, or let its result be published",
  },
  rejectRun: {
    method: "POST",
    path: "/v1/agent-runs/{id}/reject",
    policy: { scope: "agent:write" },
    summary: "Reject such a run, which ends it",
  },
  runEvents: {
    method: "GET",
    path: "/v1/agent-runs/{id}/events",
    policy: { scope: "agent:read" },
    summary: "Read a run's log, live (SSE), as NDJSON or as JSON",
  },
  runStream: {
    method: "GET",
    path: "/v1/agent-runs/{id}/stream",
    policy: { scope: "agent:read" },
    summary: "Read a run's log, live, over a WebSocket",
  },
  runPatch: {
    method: "GET",
    path: "/v1/agent-runs/{id}/patch",
    policy: { scope: "agent:read" },
    summary: "Read what a run changed, as a patch",
  },
  runBundle: {
    method: "GET",
    path: "/v1/agent-runs/{id}/bundle",
    policy: { scope: "agent:read" },
    summary: "Read what a run made, as a bundle of commits",
  },
  runLogs: {
    method: "GET",
    path: "/v1/agent-runs/{id}/logs",
    policy: { scope: "agent:read" },
    summary: "Read what was said and done in a run, as JSON or as text",
  },
  runFiles: {
    method: "GET",
    path: "/v1/agent-runs/{id}/files",
    policy: { scope: "agent:read" },
    summary: "List the files that a run changed",
  },
  runFile: {
    method: "GET",
    path: "/v1/agent-runs/{id}/files/{path}",
    policy: { scope: "agent:read" },
    summary: "Read a file as a run left it",
  },
  openShell: {
    method: "POST",
    path: "/v1/agent-runs/{id}/shell",
    policy: { scope: "agent:execute" },
    summary: "Prepare a shell in a run's sandbox, for whoever is at the server's machine",
  },
  runWorkspace: {
    method: "GET",
    path: "/v1/agent-runs/{id}/workspace",
    policy: { scope: "agent:read" },
    summary: "List a folder of a run's workspace, as it is now",
  },
  workspaceFile: {
    method: "GET",
    path: "/v1/agent-runs/{id}/workspace/{path}",
    policy: { scope: "agent:read" },
    summary: "Read a file of a run's workspace, as it is now",
  },
  workspaceArchive: {
    method: "GET",
    path: "/v1/agent-runs/{id}/archive",
    policy: { scope: "agent:read" },
    summary: "Read a folder of a run's workspace, as a tar archive",
  },
  runDiff: {
    method: "GET",
    path: "/v1/agent-runs/{id}/diff",
    policy: { scope: "agent:read" },
    summary: "Read what a run changed, file by file",
  },
  runExchanges: {
    method: "GET",
    path: "/v1/agent-runs/{id}/exchanges",
    policy: { scope: "agent:read" },
    summary: "List the model calls of a run",
  },
  runExchange: {
    method: "GET",
    path: "/v1/agent-runs/{id}/exchanges/{xid}",
    policy: { scope: "agent:read" },
    summary: "Read a model call: what was asked and what was answered",
  },
  runExchangeRequest: {
    method: "GET",
    path: "/v1/agent-runs/{id}/exchanges/{xid}/request",
    policy: { scope: "agent:read" },
    summary: "Read what an agent sent to a model, byte for byte",
  },
  runExchangeResponse: {
    method: "GET",
    path: "/v1/agent-runs/{id}/exchanges/{xid}/response",
    policy: { scope: "agent:read" },
    summary: "Read what an agent got from a model, byte for byte",
  },
  replayRun: {
    method: "POST",
    path: "/v1/agent-runs/{id}/replay",
    policy: { scope: "agent:execute" },
    summary: "Run again what a run did, on its recording in place of a model",
  },
  runUsage: {
    method: "GET",
    path: "/v1/agent-runs/{id}/usage",
    policy: { scope: "agent:read" },
    summary: "Read what a run's model calls used and cost",
  },
  runMetrics: {
    method: "GET",
    path: "/v1/agent-runs/{id}/metrics",
    policy: { scope: "agent:read" },
    summary: "Read what a run used of its machine over time: processors, memory, processes, disk",
  },
  changePullRequest: {
    method: "POST",
    path: "/v1/agent-runs/{id}/pull-request",
    policy: { scope: "agent:write" },
    summary: "Look at a run's pull request, close or reopen it, make it a draft or ready",
  },
  stopPullRequest: {
    method: "POST",
    path: "/v1/pull-requests/stop",
    policy: { scope: "agent:write" },
    summary: "Cancel all runs of a pull request, and let none go on",
  },
  allowPullRequest: {
    method: "POST",
    path: "/v1/pull-requests/allow",
    policy: { scope: "agent:write" },
    summary: "Let runs of a pull request go on again that was stopped",
  },
  runPlan: {
    method: "GET",
    path: "/v1/agent-runs/{id}/plan",
    policy: { scope: "agent:read" },
    summary: "Read every version of a run's plan",
  },
  confirmPlan: {
    method: "POST",
    path: "/v1/agent-runs/{id}/plan/confirm",
    policy: { scope: "agent:write" },
    summary: "Approve a plan, as it is or in words of one's own",
  },
  rejectPlan: {
    method: "POST",
    path: "/v1/agent-runs/{id}/plan/reject",
    policy: { scope: "agent:write" },
    summary: "Reject a plan, which cancels its run",
  },
  revisePlan: {
    method: "POST",
    path: "/v1/agent-runs/{id}/plan/revise",
    policy: { scope: "agent:write" },
    summary: "Send a plan back to the agent with feedback",
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
  listRepositories: {
    method: "GET",
    path: "/v1/repositories",
    policy: { scope: "organization:read" },
    summary: "List repositories, newest first",
  },
  createRepository: {
    method: "POST",
    path: "/v1/repositories",
    policy: { scope: "organization:admin" },
    summary: "Make a repository known, before it has a run",
  },
  getRepository: {
    method: "GET",
    path: "/v1/repositories/{rid}",
    policy: { scope: "organization:read" },
    summary: "Read what holds for a repository's runs",
  },
  changeRepository: {
    method: "PATCH",
    path: "/v1/repositories/{rid}",
    policy: { scope: "organization:admin" },
    summary: "Change what holds for a repository's runs",
  },
  getOrganization: {
    method: "GET",
    path: "/v1/organization",
    policy: { scope: "organization:read" },
    summary: "Read what holds for the organization's runs",
  },
  changeOrganization: {
    method: "PATCH",
    path: "/v1/organization",
    policy: { scope: "organization:admin" },
    summary: "Change what holds for the organization's runs",
  },
  listModels: { method: "GET", path: "/v1/models", policy: { scope: "agent:read" }, summary: "List the models that runs can have" },
  listAgents: { method: "GET", path: "/v1/agents", policy: { scope: "agent:read" }, summary: "List saved agents, newest first" },
  createAgent: { method: "POST", path: "/v1/agents", policy: { scope: "organization:admin" }, summary: "Save an agent under a name" },
  getAgent: { method: "GET", path: "/v1/agents/{aid}", policy: { scope: "agent:read" }, summary: "Read a saved agent, by its id or name" },
  changeAgent: {
    method: "PATCH",
    path: "/v1/agents/{aid}",
    policy: { scope: "organization:admin" },
    summary: "Change a saved agent",
  },
  deleteAgent: {
    method: "DELETE",
    path: "/v1/agents/{aid}",
    policy: { scope: "organization:admin" },
    summary: "Delete a saved agent; its runs stay as they are",
  },
  listSecrets: {
    method: "GET",
    path: "/v1/secrets",
    policy: { scope: "organization:read" },
    summary: "List secrets, newest first, without their values",
  },
  setSecret: {
    method: "POST",
    path: "/v1/secrets",
    policy: { scope: "organization:admin" },
    summary: "Store a secret, in place of the one of this name",
  },
  deleteSecret: {
    method: "DELETE",
    path: "/v1/secrets/{sid}",
    policy: { scope: "organization:admin" },
    summary: "Delete a secret; runs that were given it keep it",
  },
  listCredentials: {
    method: "GET",
    path: "/v1/credentials",
    policy: { scope: "organization:read" },
    summary: "List the credentials for repositories on other machines, newest first, without their values",
  },
  setCredential: {
    method: "POST",
    path: "/v1/credentials",
    policy: { scope: "organization:admin" },
    summary: "Store a token or an SSH key for the repositories whose URL begins with this one",
  },
  deleteCredential: {
    method: "DELETE",
    path: "/v1/credentials/{cid}",
    policy: { scope: "organization:admin" },
    summary: "Delete a credential",
  },
  listSnapshots: {
    method: "GET",
    path: "/v1/snapshots",
    policy: { scope: "agent:read" },
    summary: "List the snapshots of what set-up made, newest first",
  },
  getSnapshot: { method: "GET", path: "/v1/snapshots/{snid}", policy: { scope: "agent:read" }, summary: "Read what a snapshot is of" },
  deleteSnapshot: {
    method: "DELETE",
    path: "/v1/snapshots/{snid}",
    policy: { scope: "agent:write" },
    summary: "Delete a snapshot: the next run of its key runs its set-up",
  },
  serverStatus: {
    method: "GET",
    path: "/v1/status",
    policy: { scope: "agent:read" },
    summary: "How the server stands: model, sandbox, runs, agents, role, runners",
  },
  createLoginLink: {
    method: "POST",
    path: "/v1/auth/login-links",
    policy: { scope: "organization:admin" },
    summary: "Make a link that signs one browser in, once",
  },
  logout: { method: "POST", path: "/v1/auth/logout", policy: { scope: "agent:read" }, summary: "End the browser's session" },
  login: { method: "GET", path: "/login", policy: "public", summary: "Follow a login link" },
  docs: { method: "GET", path: "/docs", policy: "public", summary: "This reference, for a signed-in browser" },
  docsFile: { method: "GET", path: "/docs/{file}", policy: "public", summary: "What the reference's page is made of" },
  openapi: { method: "GET", path: "/openapi.json", policy: { scope: "agent:read" }, summary: "This reference as OpenAPI 3.1" },
  home: { method: "GET", path: "/", policy: "public", summary: "Name, version and ways in; a browser is sent to the reference" },
  livez: { method: "GET", path: "/livez", policy: "public", summary: "The process lives" },
  readyz: { method: "GET", path: "/readyz", policy: "public", summary: "The server can take work" },
} as const satisfies Record<string, Route>;
export type RouteName = keyof typeof ROUTES;

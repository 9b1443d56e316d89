export { RunyardClient, type RunyardClientOptions } from "./client.ts";
export { RunyardApiError, RunyardConnectionError } from "./errors.ts";
export { type EventsOptions, isKnownEvent, type UnknownEvent } from "./event-stream.ts";
export type { Models } from "./models.ts";
export type { LogsOptions, RunResults } from "./results.ts";
export type { RunPlans } from "./plans.ts";
export type { RunList, Runs } from "./runs.ts";
export type { OrganizationSettings, Repositories, RepositoryList } from "./settings.ts";
export type { RequestOptions } from "./transport.ts";

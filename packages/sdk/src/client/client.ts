import type { LoginLink, ServerStatus } from "../contract/server.ts";
import { type Agents, createAgents } from "./agents.ts";
import { checked } from "./answers.ts";
import { createCredentials, type Credentials } from "./credentials.ts";
import { IDLE_MS } from "./event-stream.ts";
import { createModels, type Models } from "./models.ts";
import { pathOf } from "./paths.ts";
import { createPullRequestStops, type PullRequests } from "./pull-request-stops.ts";
import { createRuns, type Runs } from "./runs.ts";
import { createSecrets, type Secrets } from "./secrets.ts";
import { createSnapshots, type Snapshots } from "./snapshots.ts";
import { createOrganization, createRepositories, type OrganizationSettings, type Repositories } from "./settings.ts";
import { createTransport, type RequestOptions, type Transport } from "./transport.ts";
import { FIRST_DELAY_MS } from "./wait.ts";

export interface RunyardClientOptions {
  /** Where the server is, for example `http://127.0.0.1:4600`. */
  readonly baseUrl: string;
  /** An API token; the first one is in `$RUNYARD_HOME/admin-token` of the server's machine. */
  readonly token: string;
  /** What sends requests; default: the platform's fetch. */
  readonly fetch?: typeof fetch;
  /** Tries after the first one, for calls that are safe to repeat; default 2. */
  readonly maxRetries?: number;
  /** Longest time for one try, in milliseconds; default 60,000. Streams of events have no end time. */
  readonly timeoutMs?: number;
  /** First wait between tries, in milliseconds; it doubles up to 8 s. Default 500. */
  readonly retryDelayMs?: number;
  /** Silence after which a stream of events is taken for dead, in milliseconds; default 45,000. */
  readonly idleTimeoutMs?: number;
}

const TIMEOUT_MS = 60_000;
const MAX_RETRIES = 2;

/**
 * A client for one Runyard server, for Node and browsers.
 *
 * Calls reject with a RunyardApiError when the server refuses, and with a RunyardConnectionError when
 * it cannot be reached.
 *
 * @example
 * ```ts
 * const client = new RunyardClient({ baseUrl: "http://127.0.0.1:4600", token });
 * const run = await client.runs.create({ task: "Add a changelog", repositoryUrl: "/home/me/project" });
 * for await (const event of client.runs.events(run.id)) console.log(event.seq, event.type);
 * console.log(await client.runs.patch(run.id));
 * ```
 */
export class RunyardClient {
  /** Runs: create, read, follow, answer, cancel. */
  readonly runs: Runs;
  /** Pull requests that runs have to do with. */
  readonly pullRequests: PullRequests;
  /** Saved agents. */
  readonly agents: Agents;
  /** Repositories, and what holds for their runs. */
  readonly repositories: Repositories;
  /** Secrets that runs are given. */
  readonly secrets: Secrets;
  /** What servers of repositories on other machines are shown. */
  readonly credentials: Credentials;
  /** What the set-up of runs made. */
  readonly snapshots: Snapshots;
  /** The models that runs can have. */
  readonly models: Models;
  /** What holds for the runs of the token's organization. */
  readonly organization: OrganizationSettings;
  /** The address in use, without a slash at its end. */
  readonly baseUrl: string;
  readonly #transport: Transport;

  constructor(options: RunyardClientOptions) {
    this.baseUrl = checkedUrl(options.baseUrl);
    this.#transport = createTransport({
      baseUrl: this.baseUrl,
      token: checkedToken(options.token),
      // Not kept as a value: tools that replace the global later are meant to be seen.
      fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
      maxRetries: options.maxRetries ?? MAX_RETRIES,
      timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
      retryDelayMs: options.retryDelayMs ?? FIRST_DELAY_MS,
    });
    this.runs = createRuns(this.#transport, options.idleTimeoutMs ?? IDLE_MS);
    this.pullRequests = createPullRequestStops(this.#transport);
    this.agents = createAgents(this.#transport);
    this.repositories = createRepositories(this.#transport);
    this.secrets = createSecrets(this.#transport);
    this.credentials = createCredentials(this.#transport);
    this.snapshots = createSnapshots(this.#transport);
    this.models = createModels(this.#transport);
    this.organization = createOrganization(this.#transport);
  }

  /** How the server stands: its version, the model, the sandbox, how many runs there are, the agents. */
  async status(options?: RequestOptions): Promise<ServerStatus> {
    const request = { method: "GET", path: pathOf("serverStatus"), accept: "application/json", repeatable: true } as const;
    return checked(await this.#transport.json(request, options), { version: "string", model: "object", agents: "array" }) as ServerStatus;
  }

  /** Makes a link that signs one browser in, once, for as long as `expiresAt` says. Needs `organization:admin`. */
  async createLoginLink(options?: RequestOptions): Promise<LoginLink> {
    const request = { method: "POST", path: pathOf("createLoginLink"), body: {}, accept: "application/json", repeatable: true } as const;
    return checked(await this.#transport.json(request, options), { url: "string", expiresAt: "string" }) as LoginLink;
  }
}

function checkedUrl(text: string): string {
  if (!URL.canParse(text)) throw new TypeError(`baseUrl is not a URL: ${JSON.stringify(text)}`);
  const url = new URL(text);
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw new TypeError(`baseUrl must begin with http:// or https://: ${JSON.stringify(text)}`);
  if (url.username !== "" || url.password !== "") throw new TypeError("baseUrl must not hold a user or a password: give the token instead");
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
}

function checkedToken(token: string): string {
  if (!/^[\x21-\x7e]+$/.test(token)) throw new TypeError("token must be printable characters without spaces");
  return token;
}

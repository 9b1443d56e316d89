import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { containerImageSchema, type SandboxDriverName, SERVER_ROLES, type ServerRole } from "@runyard/sdk/contract";
import { isAllowedHostEntry } from "./core/repository-hosts.ts";
import type { Home } from "./home.ts";

/** How one server is to run: flags and environment, merged once. */
export interface ServerConfiguration {
  readonly home: Home;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Every run gets the scripted model and is marked simulated. */
  readonly simulate: boolean;
  readonly defaultDriver: SandboxDriverName;
  /** The container image of runs with the driver `docker` that name none; null: they must. */
  readonly dockerImage: string | null;
  /** Most runs of the home's organization at a time. */
  readonly maxRuns: number;
  /** What the sandboxes of runs may have of this machine's memory together, in bytes; null: what a tenth leaves. */
  readonly memoryBudgetBytes: number | null;
  /** An external PostgreSQL; null: the embedded one. */
  readonly databaseUrl: string | null;
  /** In the order in which they are asked for a model that none of them names as its own; none: no model is connected. */
  readonly providers: readonly ModelProvider[];
  /** Where calls go that agents make with the logins of their own programs, by profile. */
  readonly loginWays: Readonly<Record<string, ModelProvider & { readonly apiKey: null }>>;
  /** Names, beside those of the loopback, under which the server is asked: `host` or `host:port`, in lower case. */
  readonly allowedHosts: readonly string[];
  readonly role: ServerRole;
  /** The key of secrets, 32 bytes; null: the home's own. */
  readonly secretsKey: Buffer | null;
  readonly timings: Timings;
  /** Networks, as `10.0.0.0/8`, in which hosts may be that runs are allowed to reach, though they are not the internet's. */
  readonly egressNetworks: readonly string[];
  /** Hosts of repositories that may be at addresses which are not public, or go by http: `host`, `host:port` or `http://host:port`. */
  readonly repositoryHosts: readonly string[];
  /** How long an agent may take from its start until it has opened a session, in milliseconds. */
  readonly agentStartMs: number;
  /** Certificates, in PEM, of authorities that are trusted beside the system's; null: none. */
  readonly extraCertificates: string | null;
  /** Directories with programs that sandboxes see beside the toolchains that are known: absolute, without anything that may hold secrets. */
  readonly toolchains: readonly string[];
  /** For how long what ended runs leave here is kept, in milliseconds, and how much of it, in bytes; null: without that limit. */
  readonly retention: {
    readonly workspaceMs: number | null;
    readonly recordingMs: number | null;
    readonly snapshotMs: number | null;
    readonly diskBytes: number | null;
  };
}

/** Waits, in milliseconds. */
export interface Timings {
  /** For how long a runner that says nothing counts as alive. */
  readonly leaseMs: number;
  /** How often the store is looked at without being woken. */
  readonly pollMs: number;
}

/** Somebody who answers model calls. */
export interface ModelProvider {
  /** What stands before the slash in `provider/model`. */
  readonly name: string;
  /** The family of APIs that it speaks. */
  readonly api: "openai" | "anthropic" | "gemini";
  readonly baseUrl: string;
  readonly apiKey: string | null;
  /** The key goes as a bearer token, whatever the API's own way is. */
  readonly bearer?: boolean | undefined;
  /** For runs that name none. */
  readonly model: string | null;
  /** Its models, for one that does not list them itself. */
  readonly models?: readonly string[] | undefined;
  /** The URL of the proxy by which it is reached. */
  readonly proxy?: string | undefined;
  /** Certificates, in PEM, of authorities that vouch for it beside those whom everybody trusts. */
  readonly ca?: string | undefined;
  /** What its models cost, where it does not cost what the public lists say of its host. */
  readonly prices?: "free" | Readonly<Record<string, ModelPrices>> | undefined;
  /** The id, in the public lists, of the provider behind a proxy. */
  readonly pricedAs?: string | undefined;
}

/** US dollars for a million tokens; what is left out costs as much as input. */
export interface ModelPrices {
  readonly inputUsdPerMillion: number;
  readonly outputUsdPerMillion: number;
  readonly cachedInputUsdPerMillion?: number | undefined;
  readonly cacheWriteUsdPerMillion?: number | undefined;
}

export const DEFAULT_PORT = 4600;
export const DEFAULT_MAX_RUNS = 10;
/** How many days the workspaces and the recordings of ended runs are kept. */
export const DEFAULT_KEEP_WORKSPACES = 14;
export const DEFAULT_KEEP_RECORDINGS = 30;
export const DEFAULT_KEEP_SNAPSHOTS = 1;
/** How long a server that stops waits for the runs in hand, in seconds. */
export const DEFAULT_STOP_TIMEOUT = 600;
const LONGEST_STOP_TIMEOUT = 86_400;
/** How long an agent may take until it has opened a session, in seconds. */
export const DEFAULT_AGENT_START = 300;
const LONGEST_AGENT_START = 86_400;
/** What becomes of the runs in hand when the server is asked to stop: they live on, are waited for, or end. */
export const ON_STOP = ["leave", "stop", "kill"] as const;
export type OnStop = (typeof ON_STOP)[number];
const MOST_RUNS = 1_000;
const DEFAULT_TIMINGS: Timings = { leaseMs: 15_000, pollMs: 1_000 };

/** The PostgreSQL that `DATABASE_URL` names, or null: the built-in one. What is wrong is told without the URL, which holds a password. */
export function databaseUrlFromEnvironment(env: NodeJS.ProcessEnv): string | null {
  const url = env["DATABASE_URL"] || null;
  if (url === null || (/^postgres(ql)?:\/\//.test(url) && URL.canParse(url))) return url;
  throw new Error(
    "DATABASE_URL must be the URL of a PostgreSQL database, for example postgres://user:password@host:5432/database (odd characters in the password as %23 and the like)",
  );
}

/** What a server does, from a flag or `RUNYARD_ROLE`. The halves work for a database that others reach too. */
export function parseRole(text: string, databaseUrl: string | null): ServerRole {
  const role = SERVER_ROLES.find((one) => one === text);
  if (role === undefined) throw new Error(`The role must be one of ${SERVER_ROLES.join(", ")}: got ${JSON.stringify(text)}`);
  if (role === "all" || databaseUrl !== null) return role;
  throw new Error(`The role ${role} needs DATABASE_URL: no other server reaches the built-in database of this one`);
}

/** How to make a key. */
const MAKE_KEY = "Make one with `openssl rand -base64 32`.";

/** The key of secrets from `RUNYARD_SECRETS_KEY`, or from the file that `RUNYARD_SECRETS_KEY_FILE` names; null: the home's own. Never says the key. */
export function secretsKeyFromEnvironment(env: NodeJS.ProcessEnv): Buffer | null {
  const { RUNYARD_SECRETS_KEY: text, RUNYARD_SECRETS_KEY_FILE: file } = env;
  if (text && file) throw new Error("RUNYARD_SECRETS_KEY and RUNYARD_SECRETS_KEY_FILE are both set, and only one can count");
  if (text) return parseSecretsKey(text, "RUNYARD_SECRETS_KEY");
  if (!file) return null;
  let content: string;
  try {
    content = readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`RUNYARD_SECRETS_KEY_FILE: ${file} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  return parseSecretsKey(content, file);
}

/** 32 bytes in base64 or hex; `place` is where the text stands. */
export function parseSecretsKey(text: string, place: string): Buffer {
  const word = text.trim();
  if (/^[0-9a-fA-F]{64}$/.test(word)) return Buffer.from(word, "hex");
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(word)) return Buffer.from(word, "base64");
  throw new Error(`${place} must hold a key of 32 bytes, in base64 (44 characters) or hex (64). ${MAKE_KEY}`);
}

/** Short or long waits, for tests: `RUNYARD_TEST_LEASE_MS`, `RUNYARD_TEST_POLL_MS`. */
export function timingsFromEnvironment(env: NodeJS.ProcessEnv): Timings {
  const read = (text: string | undefined, usual: number): number => (/^[1-9]\d{1,8}$/.test(text ?? "") ? Number(text) : usual);
  return {
    leaseMs: read(env["RUNYARD_TEST_LEASE_MS"], DEFAULT_TIMINGS.leaseMs),
    pollMs: read(env["RUNYARD_TEST_POLL_MS"], DEFAULT_TIMINGS.pollMs),
  };
}

/** Host names from `RUNYARD_ALLOWED_HOSTS`, with commas between them: those of a proxy in front of the server. */
export function allowedHostsFromEnvironment(env: NodeJS.ProcessEnv): string[] {
  const hosts = (env["RUNYARD_ALLOWED_HOSTS"] ?? "").split(",").map((host) => host.trim().toLowerCase());
  const wrong = hosts.find((host) => host !== "" && !/^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?$/.test(host));
  if (wrong === undefined) return hosts.filter((host) => host !== "");
  throw new Error(
    `RUNYARD_ALLOWED_HOSTS must be names like runyard.example.com or build-1:4600, with commas between: got ${JSON.stringify(wrong)}`,
  );
}

/** Networks from `RUNYARD_EGRESS_NETWORKS`, with commas between them: `10.20.0.0/16, fd12:3456::/32`. */
export function egressNetworksFromEnvironment(env: NodeJS.ProcessEnv): string[] {
  const networks = (env["RUNYARD_EGRESS_NETWORKS"] ?? "").split(",").map((network) => network.trim());
  const wrong = networks.find((network) => network !== "" && !isNetwork(network));
  if (wrong === undefined) return networks.filter((network) => network !== "");
  throw new Error(`RUNYARD_EGRESS_NETWORKS must be networks like 10.20.0.0/16, with commas between: got ${JSON.stringify(wrong)}`);
}

/** Hosts from `RUNYARD_REPOSITORY_HOSTS`, with commas between them: `git.internal, http://build-1:3000`. */
export function repositoryHostsFromEnvironment(env: NodeJS.ProcessEnv): string[] {
  const hosts = (env["RUNYARD_REPOSITORY_HOSTS"] ?? "").split(",").map((host) => host.trim());
  const wrong = hosts.find((host) => host !== "" && !isAllowedHostEntry(host));
  if (wrong === undefined) return hosts.filter((host) => host !== "");
  throw new Error(
    `RUNYARD_REPOSITORY_HOSTS must be hosts like git.example.com, 10.1.2.3:8443 or http://build-1:3000, with commas between: got ${JSON.stringify(wrong)}`,
  );
}

function isNetwork(text: string): boolean {
  const [address = "", prefix, ...rest] = text.split("/");
  const longest = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  return rest.length === 0 && longest > 0 && (prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= longest));
}

/** What browsers and Node's own fetch never talk to: the "bad ports" of the Fetch standard. */
const UNREACHABLE_PORTS = new Set([
  1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111, 113, 115, 117,
  119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636,
  989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
]);

/** A port from a flag or `RUNYARD_PORT`. */
export function parsePort(text: string): number {
  const port = /^\d+$/.test(text) ? Number(text) : -1;
  if (port < 0 || port > 65_535) throw new Error(`The port must be a number from 0 to 65535: got ${JSON.stringify(text)}`);
  if (UNREACHABLE_PORTS.has(port)) throw new Error(`Browsers never talk to port ${port}, which belongs to another protocol`);
  return port;
}

/** How many runs are at work at a time, from a flag or `RUNYARD_MAX_RUNS`. */
export function parseMaxRuns(text: string): number {
  const runs = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (runs < 1 || runs > MOST_RUNS) throw new Error(`Runs at a time must be a number from 1 to ${MOST_RUNS}: got ${JSON.stringify(text)}`);
  return runs;
}

/** A container image from a flag or `RUNYARD_DOCKER_IMAGE`. */
export function parseDockerImage(text: string): string {
  const parsed = containerImageSchema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new Error(`The image ${parsed.error.issues[0]?.message ?? "cannot be one"}: got ${JSON.stringify(text)}`);
}

/** How many days something is kept, from a flag or the environment; null: for ever. */
export function parseDays(text: string): number | null {
  if (text === "forever") return null;
  const days = /^\d{1,5}$/.test(text) ? Number(text) : -1;
  if (days < 0) throw new Error(`It must be a number of days, or "forever": got ${JSON.stringify(text)}`);
  return days;
}

/** What ended runs may take of the disk, in gigabytes, from a flag or `RUNYARD_DISK_BUDGET`. */
export function parseDiskBudget(text: string): number {
  const gigabytes = /^\d{1,7}(\.\d{1,3})?$/.test(text) ? Number(text) : 0;
  if (gigabytes <= 0) throw new Error(`The disk budget must be a number of gigabytes above 0: got ${JSON.stringify(text)}`);
  return gigabytes;
}

/** How many seconds an agent may take until it has opened a session, from `RUNYARD_AGENT_START_TIMEOUT`. */
export function parseAgentStartTimeout(text: string): number {
  const seconds = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (seconds < 1 || seconds > LONGEST_AGENT_START)
    throw new Error(
      `RUNYARD_AGENT_START_TIMEOUT must be a number of seconds from 1 to ${LONGEST_AGENT_START}: got ${JSON.stringify(text)}`,
    );
  return seconds;
}

/** What the sandboxes of runs may have together, in bytes, from a flag or `RUNYARD_MEMORY_BUDGET` in gigabytes (2^30 bytes). */
export function parseMemoryBudget(text: string): number {
  const gigabytes = /^\d{1,6}(\.\d{1,3})?$/.test(text) ? Number(text) : 0;
  if (gigabytes <= 0) throw new Error(`The memory budget must be a number of gigabytes above 0: got ${JSON.stringify(text)}`);
  return Math.floor(gigabytes * 1024 ** 3);
}

/** What a server does that is asked to stop, from a flag or `RUNYARD_ON_STOP`. */
export function parseOnStop(text: string): OnStop {
  const known = ON_STOP.find((word) => word === text);
  if (known === undefined) throw new Error(`What to do on a stop must be one of ${ON_STOP.join(", ")}: got ${JSON.stringify(text)}`);
  return known;
}

/** How many seconds runs are waited for, from a flag or `RUNYARD_STOP_TIMEOUT`. */
export function parseStopTimeout(text: string): number {
  const seconds = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (seconds < 1 || seconds > LONGEST_STOP_TIMEOUT)
    throw new Error(`The time to wait for runs must be a number of seconds from 1 to ${LONGEST_STOP_TIMEOUT}: got ${JSON.stringify(text)}`);
  return seconds;
}

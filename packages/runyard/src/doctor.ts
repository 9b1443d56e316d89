import { existsSync, realpathSync } from "node:fs";
import { execFile } from "node:child_process";
import { homedir } from "node:os";
import path from "node:path";
import pg from "pg";
import { credentialOf, USUAL_KEYS } from "./agents/profiles/credential.ts";
import { knownPrograms } from "./agents/profiles/profiles.ts";
import { loginFile, lookAtLogin } from "./agents/profiles/own-login.ts";
import type { AgentProfile } from "./agents/profiles/profile.ts";
import { FILTER_ADVICE, floorsKept, type Kept, type KeptLimits, LIMITS_ADVICE, missingOf } from "./core/isolation-floor.ts";
import { SANDBOX_LIMITS } from "./core/limits.ts";
import { defaultMemoryBudget } from "./core/memory.ts";
import { databaseUrlFromEnvironment, type ModelProvider, parseMemoryBudget } from "./configuration.ts";
import type { Home } from "./home.ts";
import { readProviders } from "./providers.ts";
import { probeEngine } from "./sandbox/docker-probe.ts";
import { sandboxDriver } from "./sandbox/drivers.ts";
import { hostMemoryBytes } from "./sandbox/host-memory.ts";
import { findHostToolchains, TOOLCHAINS_VARIABLE, toolchainsFromEnvironment } from "./sandbox/host-toolchains.ts";
import { overlaySupport } from "./sandbox/overlay.ts";
import { probeLimits } from "./sandbox/probe-limits.ts";
import { findProgram, SYSTEM_PATH } from "./sandbox/toolchains.ts";
import { connectError } from "./store/database/errors.ts";
import { refuseServer } from "./store/migrate/requirements.ts";
import { chooseAccount, openPathTo } from "./store/postgres/account.ts";
import { checkMajor, dataDirOf } from "./store/postgres/cluster.ts";
import { postgresPid } from "./store/postgres/postgres.ts";
import { findPackage, majorOf } from "./store/postgres/programs.ts";

/** One thing that was looked at. */
export interface Finding {
  readonly area: "system" | "isolation" | "toolchains" | "database" | "agents" | "model" | "server";
  readonly name: string;
  /** With a `problem` no run can start; `none` is something that may well be missing. */
  readonly state: "ok" | "warning" | "problem" | "none";
  readonly found: string;
  /** The one thing to do about a gap. */
  readonly advice: string | null;
}

export interface LookOptions {
  readonly home: Home;
  readonly env: NodeJS.ProcessEnv;
}

const DATABASE_TIMEOUT_MS = 3_000;
const PROGRAM_TIMEOUT_MS = 3_000;
/** Of what is on PATH and sandboxes do not show, how much is listed one by one. */
const MOST_HIDDEN = 12;

/** Looks at what a server would stand on: isolation, database, agents. Starts nothing that stays, changes nothing. */
export async function lookAround(options: LookOptions): Promise<Finding[]> {
  const [isolation, database, agents] = await Promise.all([lookAtIsolation(options), lookAtDatabase(options), lookAtAgents(options)]);
  return [...isolation, ...lookAtToolchains(options), ...database, ...agents];
}

async function lookAtIsolation({ home, env }: LookOptions): Promise<Finding[]> {
  const dirs = [...SYSTEM_PATH, ...(env["PATH"] ?? "").split(":").filter((dir) => path.isAbsolute(dir))];
  const { available, reason, isolation } = await sandboxDriver("bwrap").probe();
  const programs =
    process.platform === "linux" ? await Promise.all((["bwrap", "socat"] as const).map((name) => lookAtProgram(name, dirs))) : [];
  const sandbox: Finding = available
    ? finding("isolation", "sandbox", "ok", "one was started: files, network and processes are isolated")
    : { ...finding("isolation", "sandbox", "problem", "none could be started"), advice: reason };
  const filtered = isolation.syscalls === "hard";
  const syscalls: Finding = filtered
    ? finding("isolation", "system calls", "ok", "those are refused that only a machine's administrators need")
    : {
        ...finding("isolation", "system calls", "warning", "none is refused: this kernel takes no filter (seccomp) for a sandbox"),
        advice: `Sandboxes work without it; an agent can reach more of the kernel. ${FILTER_ADVICE}`,
      };
  const limits = probeLimits();
  return [
    ...programs,
    sandbox,
    ...(available ? [syscalls] : []),
    lookAtLimits(limits),
    lookAtFloors({ isolation, limits }),
    lookAtMemory(env),
    ...(available ? [await lookAtOverlays(home)] : []),
    await lookAtEngine(env),
  ];
}

/** A server that runs may have been told otherwise by its flag. */
function lookAtMemory({ RUNYARD_MEMORY_BUDGET: told }: NodeJS.ProcessEnv): Finding {
  const gigabytes = (bytes: number): string => (bytes / 1024 ** 3).toFixed(1);
  const has = hostMemoryBytes();
  try {
    const budget = told ? parseMemoryBudget(told) : defaultMemoryBudget(has);
    const sandboxes = Math.max(1, Math.floor(budget / SANDBOX_LIMITS.standard.memoryBytes));
    const found = `${gigabytes(budget)} of ${gigabytes(has)} GB for runs: ${sandboxes} of the type standard at a time`;
    return finding("isolation", "memory", "ok", found);
  } catch (error) {
    return { ...finding("isolation", "memory", "problem", "RUNYARD_MEMORY_BUDGET is not usable"), advice: (error as Error).message };
  }
}

/** What is to be done about it is told where the part is looked at that is missing. */
function lookAtFloors(kept: Kept): Finding {
  const floors = floorsKept(kept).join(", ");
  const missing = missingOf("strict", kept);
  const why = missing.length === 0 ? "" : `; strict asks for ${missing.join(", ")} too`;
  return finding("isolation", "floors", missing.length === 0 ? "ok" : "none", `${floors} can be kept${why}`);
}

/** How workspaces are made; without overlays they take longer, and nothing else is missing. */
async function lookAtOverlays({ root }: Home): Promise<Finding> {
  const name = "workspaces";
  const place = existsSync(root) ? root : path.dirname(root);
  const support = existsSync(place)
    ? await overlaySupport(realpathSync(place))
    : { available: false as const, reason: `${place} is not there` };
  if (support.available) return finding("isolation", name, "ok", "one was mounted upon another (overlay): large ones are there at once");
  const advice = `Overlays need Linux 5.11, util-linux, and the right to make user namespaces: ${support.reason}`;
  return { ...finding("isolation", name, "none", "each is a checkout or a copy of its own: no overlay could be mounted"), advice };
}

/** What the driver `docker` would use. Nothing is missing where there is none. */
async function lookAtEngine(env: NodeJS.ProcessEnv): Promise<Finding> {
  const name = "containers";
  const support = await probeEngine(env);
  if (!support.available) return { ...finding("isolation", name, "none", "no engine for --sandbox docker"), advice: support.reason };
  const { title, socketPath, rootless, limits } = support.engine;
  const kind = rootless ? "rootless" : "not rootless: whoever may use it is as good as root";
  const found = finding("isolation", name, "ok", `${title} at ${socketPath}, ${kind}`);
  const missing = Object.entries(limits).flatMap(([limit, has]) => (has ? [] : [limit]));
  if (missing.length === 0) return found;
  const advice =
    "Let the engine's user have these controllers: with systemd, Delegate=cpu memory pids for user@.service, on control groups of version 2.";
  return { ...found, state: "warning", found: `${found.found}; it cannot limit ${missing.join(", ")}`, advice };
}

async function lookAtProgram(name: "bwrap" | "socat", dirs: readonly string[]): Promise<Finding> {
  const program = findProgram(name, dirs);
  const packaged = name === "bwrap" ? "bubblewrap" : name;
  if (program === null) {
    const advice = `Install the package ${packaged}, for example: sudo apt-get install ${packaged}`;
    return { ...finding("isolation", name, "problem", "not installed"), advice };
  }
  const words = name === "bwrap" ? ["--version"] : ["-V"];
  const version = /(?:bubblewrap|socat version) (\S+)/.exec(await outputOf(program, words))?.[1];
  return finding("isolation", name, "ok", `${version ?? "version unknown"} at ${program}`);
}

function lookAtLimits({ memory, cpus, pids }: KeptLimits): Finding {
  const names = (wanted: boolean): string => {
    const all = Object.entries({ memory, cpu: cpus, processes: pids });
    return all.flatMap(([name, has]) => (has === wanted ? [name] : [])).join(", ");
  };
  if (memory && cpus && pids) return finding("isolation", "limits", "ok", `${names(true)} of a run can be limited`);
  const advice = process.platform === "linux" ? LIMITS_ADVICE : "Watch what agents use: on this system Runyard cannot limit it.";
  return { ...finding("isolation", "limits", "warning", `${names(false)} of a run cannot be limited here`), advice };
}

/** What sandboxes show of the toolchains on PATH; nothing of them is executed. */
function lookAtToolchains({ home, env }: LookOptions): Finding[] {
  const userHome = env["HOME"] || homedir();
  const search = { env, home: userHome, runyardHome: home.root };
  const short = (place: string): string => (place.startsWith(`${userHome}/`) ? `~${place.slice(userHome.length)}` : place);
  const node = finding("toolchains", "node", "ok", `${process.version} of the server at ${short(process.execPath)}`);
  let further: readonly string[];
  try {
    further = toolchainsFromEnvironment(search);
  } catch (error) {
    const wrong = finding("toolchains", TOOLCHAINS_VARIABLE, "problem", "is not usable, so that `runyard up` refuses to start");
    return [node, { ...wrong, advice: (error as Error).message }];
  }
  const { found, hidden } = findHostToolchains(search, further);
  const seen = found.map(({ name, version, shown }) =>
    finding("toolchains", name, "ok", `${version === null ? "" : `${version}: `}${shown.map(short).join(", ")}`),
  );
  const unseen = hidden
    .slice(0, MOST_HIDDEN)
    .map(({ place, reason }) => finding("toolchains", "not shown", "none", `${short(place)}: ${reason}`));
  const rest = hidden.length - unseen.length;
  return [node, ...seen, ...unseen, ...(rest > 0 ? [finding("toolchains", "not shown", "none", `and ${rest} more`)] : [])];
}

async function lookAtDatabase(options: LookOptions): Promise<Finding[]> {
  const url = options.env["DATABASE_URL"];
  return [url ? await lookAtExternal(url) : await lookAtEmbedded(options.home)];
}

async function lookAtExternal(connectionString: string): Promise<Finding> {
  const name = "postgres";
  const advised = (found: string, advice: string): Finding => ({ ...finding("database", name, "problem", found), advice });
  try {
    databaseUrlFromEnvironment({ DATABASE_URL: connectionString });
  } catch (error) {
    return advised("DATABASE_URL is not usable", (error as Error).message);
  }
  const { hostname, port, pathname } = new URL(connectionString);
  const place = `${decodeURIComponent(hostname) || "the socket"}${port === "" ? "" : `:${port}`}${pathname}`;
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: DATABASE_TIMEOUT_MS, application_name: "runyard-doctor" });
  client.on("error", () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ version: number; encoding: string }>(
      "select current_setting('server_version_num')::int as version, current_setting('server_encoding') as encoding",
    );
    const { version = 0, encoding = "" } = rows[0] ?? {};
    const refusal = refuseServer(version, encoding);
    const found = `PostgreSQL ${Math.floor(version / 10_000)}.${version % 10_000} of DATABASE_URL at ${place}`;
    return refusal === null ? finding("database", name, "ok", found) : advised(found, refusal);
  } catch (error) {
    return advised(`the PostgreSQL of DATABASE_URL at ${place} does not answer`, connectError(error).message);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function lookAtEmbedded(home: Home): Promise<Finding> {
  const name = "postgres";
  try {
    const source = findPackage();
    const dataDir = dataDirOf(home);
    if (existsSync(dataDir)) checkMajor(dataDir, majorOf(source));
    else if (existsSync(path.dirname(home.root))) openPathTo(await chooseAccount(), home.root, []);
    const pid = postgresPid(home);
    const state = pid !== null ? `running (pid ${pid})` : existsSync(dataDir) ? "stopped" : "not made yet: the first start makes it";
    return finding("database", name, "ok", `built-in PostgreSQL ${source.version.replace(/-.*/, "")}, data in ${dataDir}, ${state}`);
  } catch (error) {
    return { ...finding("database", name, "problem", "the built-in PostgreSQL cannot be used"), advice: (error as Error).message };
  }
}

async function lookAtAgents({ home, env }: LookOptions): Promise<Finding[]> {
  const profiles = knownPrograms(env);
  const found = { providers: connectedProviders(home, env), env };
  return [...(await Promise.all(profiles.map((profile) => lookAtAgent(profile, found)))), lookAtLogins(profiles, env)];
}

/** Whether there is an agent that can call with a login of its own, so that its runs need no provider. */
export async function hasOwnCaller(env: NodeJS.ProcessEnv): Promise<boolean> {
  const able = knownPrograms(env).filter(
    ({ ownLogin }) => typeof ownLogin === "object" && lookAtLogin(ownLogin, { env, nowMs: Date.now() }).reason === null,
  );
  const probes = await Promise.all(able.map((profile) => profile.probe(env)));
  return probes.some(({ installed }) => installed);
}

interface Surroundings {
  readonly providers: readonly ModelProvider[];
  readonly env: NodeJS.ProcessEnv;
}

async function lookAtAgent(profile: AgentProfile, around: Surroundings): Promise<Finding> {
  const { name } = profile;
  const probe = await profile.probe(around.env);
  if (!probe.installed) return { ...finding("agents", name, "none", "not installed"), advice: probe.reason };
  const version = probe.version ?? (probe.program === null ? "comes with Runyard" : "version unknown");
  const place = probe.program === null ? version : `${version} at ${probe.program}`;
  return finding("agents", name, "ok", `${place}; ${whoPays(profile, around)}`);
}

/** Whose key a server that is started from here would use for an agent. */
function whoPays(profile: AgentProfile, around: Surroundings): string {
  const credential = credentialOf(profile, around);
  if (credential === null) return `no provider for it is connected (${profile.apis.map((api) => USUAL_KEYS[api]).join(" or ")})`;
  const { provider, from } = credential;
  return from === null ? `asks ${provider}, without a key` : `asks ${provider}, with the key of ${from}`;
}

/** Providers that cannot be made sense of are told of elsewhere. */
function connectedProviders(home: Home, env: NodeJS.ProcessEnv): readonly ModelProvider[] {
  try {
    return readProviders(home, env);
  } catch {
    return [];
  }
}

/** Of those that runs can have, it is looked at how long they hold; the others are never read. */
function lookAtLogins(profiles: readonly AgentProfile[], env: NodeJS.ProcessEnv): Finding {
  const logins = profiles.map((profile) => lookAtOneLogin(profile, env)).filter((login) => login !== null);
  if (logins.length === 0) return finding("agents", "logins", "none", "no agent of this user has a login");
  const words = logins.map(({ words: one }) => one).join(", ");
  const advice = logins.flatMap(({ advice: one }) => (one === null ? [] : [one])).join(" ");
  return { ...finding("agents", "logins", advice === "" ? "ok" : "warning", words), advice: advice === "" ? null : advice };
}

/** Null: there is none. */
function lookAtOneLogin(
  { name, loginPlace, ownLogin }: AgentProfile,
  env: NodeJS.ProcessEnv,
): { readonly words: string; readonly advice: string | null } | null {
  const userHome = env["HOME"] || homedir();
  if (typeof ownLogin === "string") {
    const isThere = loginPlace !== null && existsSync(path.join(userHome, loginPlace));
    return isThere ? { words: `${name} (~/${loginPlace}): not for runs`, advice: null } : null;
  }
  const file = loginFile(ownLogin, env);
  if (!existsSync(file)) return null;
  const place = file.startsWith(`${userHome}/`) ? `~${file.slice(userHome.length)}` : file;
  const { expiresAtMs, reason } = lookAtLogin(ownLogin, { env, nowMs: Date.now() });
  if (reason !== null) return { words: `${name} (${place}): cannot be used`, advice: reason };
  const until = expiresAtMs === null ? "" : ` until ${new Date(expiresAtMs).toISOString()}`;
  return { words: `${name} (${place}): for runs with --own-login${until}`, advice: null };
}

function finding(area: Finding["area"], name: string, state: Finding["state"], found: string): Finding {
  return { area, name, state, found, advice: null };
}

function outputOf(program: string, words: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(program, words, { env: { LC_ALL: "C" }, timeout: PROGRAM_TIMEOUT_MS }, (_error, stdout, stderr) => resolve(stdout + stderr));
  });
}

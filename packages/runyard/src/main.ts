import { existsSync, linkSync, readFileSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs";
import { createHmac, randomBytes } from "node:crypto";
import { homedir } from "node:os";
import path from "node:path";
import { RunyardError, type ServerStatus } from "@runyard/sdk/contract";
import { answerProblem, cancelRequest, type NewRequest, permissionAnswer, questionAnswer } from "./agents/acp/conversation.ts";
import { credentialOf } from "./agents/profiles/credential.ts";
import { type LoginLook, lookAtLogin, readLogin } from "./agents/profiles/own-login.ts";
import { knownPrograms, profileNames, resolveProfile } from "./agents/profiles/profiles.ts";
import { createApi } from "./api/api.ts";
import { type ModelProvider, parseSecretsKey, type ServerConfiguration } from "./configuration.ts";
import { CHECKS_EFFECT, checksPace } from "./core/checks.ts";
import { defaultMemoryBudget } from "./core/memory.ts";
import { PULL_REQUEST_EFFECT } from "./core/pull-request.ts";
import { REVIEW_EFFECT } from "./core/review.ts";
import { concludeChecks } from "./engine/checks.ts";
import { watchDuePlans } from "./engine/due-plans.ts";
import { createEngine, type ModelState } from "./engine/engine.ts";
import { authenticate, limitHomeRuns, newToken, registerAdministrator } from "./engine/identity.ts";
import { newId } from "./engine/ids.ts";
import { createLogins } from "./engine/logins.ts";
import { offeredBy, offersOf, type OfferSources } from "./engine/offers.ts";
import { watchOutbox } from "./engine/outbox.ts";
import { shownToGit, tokenFor } from "./engine/publishing.ts";
import { startSweeper } from "./engine/sweeper.ts";
import { relayWakes, WAKE_CHANNEL } from "./engine/wake-relay.ts";
import { CLAIM, control } from "./engine/wakes.ts";
import type { WorkspaceHost } from "./engine/workspaces.ts";
import { trustedWith } from "./gateway/authority.ts";
import { type Gateway, openGateway, stopGateway } from "./gateway/client.ts";
import { keptRecordings } from "./gateway/kept-recordings.ts";
import { openRecordings } from "./gateway/recordings.ts";
import { costOf, isPriced } from "./gateway/prices.ts";
import { openRepositoryProxy } from "./gateway/repository-proxy.ts";
import type { GitHost } from "./git/host-git.ts";
import { inspectRepository, openRepository } from "./git/local-repository.ts";
import { missingFiles } from "./git/missing-files.ts";
import { removeLeftFolders } from "./git/remote-git.ts";
import { runChanges } from "./git/run-changes.ts";
import { fetchByWay } from "./integrations/fetch-by-way.ts";
import { createAppTokens } from "./integrations/github/app-tokens.ts";
import { checksPerformer } from "./integrations/github/checks-performer.ts";
import { createGithubClient } from "./integrations/github/client.ts";
import { editPullRequest } from "./integrations/github/edit-pull-request.ts";
import { pullRequestPerformer } from "./integrations/github/perform-pull-request.ts";
import type { GithubPerformerOptions } from "./integrations/github/performer.ts";
import { readPullRequest, reviewPerformer } from "./integrations/github/reviews.ts";
import { type Home, makePrivateDir, socketDirsOutside } from "./home.ts";
import { identifyProcess, isAlive, type ProcessIdentity } from "./process-identity.ts";
import { defaultModel } from "./providers.ts";
import { carryChecked, carryOver, carryPlanned } from "./runner/carry-over.ts";
import type { RunnerContext } from "./runner/context.ts";
import { watchRetention } from "./runner/retention.ts";
import { watchStrayContainers } from "./runner/stray-containers.ts";
import { type Runner, startRunner } from "./runner/runner.ts";
import { openShell } from "./runner/shells.ts";
import { workspaceReader } from "./runner/workspace-files.ts";
import { installRuntime, runtimeVersion } from "./runtime/index.ts";
import { livingAttempts } from "./runner/left-behind.ts";
import { killAttempt } from "./runner/let-go.ts";
import { sandboxDrivers } from "./sandbox/drivers.ts";
import { findHostToolchains, toolchainsFromEnvironment } from "./sandbox/host-toolchains.ts";
import { probeLimits } from "./sandbox/probe-limits.ts";
import { hostMemoryBytes } from "./sandbox/host-memory.ts";
import { openSpawner, stopSpawner } from "./sandbox/spawner.ts";
import { pinHost } from "./store/credentials.ts";
import { DatabaseUnavailableError, openDatabase } from "./store/database.ts";
import { migrate } from "./store/migrate.ts";
import { ensurePostgres, stopPostgres } from "./store/postgres/postgres.ts";
import { openNotifier } from "./store/notify.ts";
import { holdRunnerLease, type RunnerLease } from "./store/runner-lease.ts";
import { notePullRequest } from "./store/pull-requests.ts";
import { retireRunner } from "./store/runners.ts";
import { cancelLivingRuns, livingRuns } from "./store/runs.ts";
import { sealPlainHeaders } from "./store/sealed-headers.ts";
import { lockServer } from "./store/server-lock.ts";
import { createVault, KEY_BYTES } from "./store/vault.ts";
import { logTo } from "./server-log.ts";

/** How often runs that are to be ended are told so: one may just have been begun. */
const CANCEL_AGAIN_MS = 500;
/** How long a leaving server waits for its runners to let go, in milliseconds. */
const LET_GO_MS = 5_000;

export interface RunningServer {
  readonly url: string;
  readonly tokenFile: string;
  /** How many runs it has in hand. */
  readonly inHand: number;
  /** Takes no further runs, but for what is asked of it serves on. Resolves when those in hand have ended. */
  drain(): Promise<void>;
  /** Drains, and has the runs in hand cancelled. */
  cancelRuns(reason: string): Promise<void>;
  /** Leaves; what lives on is told. With no run in flight, the embedded PostgreSQL and the gateway end too. */
  stop(): Promise<{ readonly livingRuns: number }>;
}

/** What `server.json` in the home says of a running server. */
export interface ServerRecord extends ProcessIdentity {
  readonly url: string;
  readonly version: string;
}

/** Another server already works for this home. */
export class AlreadyRunningError extends Error {
  override readonly name = "AlreadyRunningError";
}

/** Starts a server: adopts or starts what it needs on this host, then serves and runs. */
export async function startServer(config: ServerConfiguration, onProgress: (message: string) => void = () => {}): Promise<RunningServer> {
  const { home } = config;
  for (const dir of [home.root, home.runsDir, home.cacheDir, home.stepsDir, home.logsDir]) makePrivateDir(dir);
  const log = logTo(path.join(home.logsDir, "server.log"));
  const closing: (() => Promise<void> | void)[] = [];
  const closeAll = async (): Promise<void> => {
    for (const close of closing.splice(0).toReversed()) await close();
  };
  // Looked for once: what is installed later is seen by the next server.
  const toolchains = findHostToolchains({ env: process.env, home: homedir(), runyardHome: home.root }, config.toolchains);
  const leaving = new AbortController();
  const draining = new AbortController();
  let leave = closeAll;
  try {
    const runtime = await installRuntime({ home, onProgress });
    // Asked again whenever the database was lost: the embedded one is then adopted or started anew, at the same place.
    const connect = async (): Promise<string> => config.databaseUrl ?? (await ensurePostgres({ home, onProgress })).connectionString;
    const connectionString = await connect();
    await migrate({ connectionString });
    const runnerId = onceWritten(path.join(home.root, "runner-id"), () => newId("runner"));
    const lock = await lockServer({ connect, runnerId, onLog: (message) => log("warn", message) });
    if (lock === null) throw new AlreadyRunningError(alreadyRunning(home));
    closing.push(() => lock.close());

    const db = openDatabase({ connectionString, applicationName: "runyard" });
    closing.push(() => db.close());
    const runnerIdentity = { owner: `${process.pid}-${randomBytes(6).toString("hex")}`, runnerId };
    const executes = config.role !== "api";
    let living = 0;
    // From here on this server is the only one of its home: with no run alive, nothing else needs what it started.
    leave = async () => {
      leaving.abort();
      living = (await livingRuns(db, runnerId)).length;
      await closeAll();
      if (living === 0) await stopHost(home);
    };
    const spawner = await openSpawner({ dir: home.spawnerDir, spawnerProgram: runtime.spawnerProgram, shimProgram: runtime.shimProgram });
    await removeLeftFolders(home.stepsDir);
    const repositoryProxy = await openRepositoryProxy({ allowed: config.repositoryHosts });
    closing.push(() => repositoryProxy.close());
    const relay = await relayWakes({
      notifier: openNotifier({ connectionString, applicationName: "runyard-notify" }, WAKE_CHANNEL),
      listen: (onMessage) => db.listen(WAKE_CHANNEL, onMessage),
    });
    closing.push(() => relay.close());
    const { wakes } = relay;

    const vault = createVault(config.secretsKey ?? ownSecretsKey(home));
    const guarded = (signal: AbortSignal): typeof fetch =>
      fetchByWay({ openWay: (target) => repositoryProxy.admit(target), extraCertificates: config.extraCertificates, signal });
    const appTokens = createAppTokens({ fetch: guarded(leaving.signal), now: Date.now });
    const fetchWith = (signal: AbortSignal): typeof fetch => appTokens.heeding(guarded(signal));
    const credentials = { db, vault, appToken: appTokens.tokenFor, githubHosts: config.githubHosts };
    const git = { spawner, stepsDir: home.stepsDir };
    const gitOf = (orgId: string): GitHost => ({
      ...git,
      remotes: {
        orgId,
        allowed: config.repositoryHosts,
        trusted: config.extraCertificates === null ? null : trustedWith(config.extraCertificates),
        credentialFor: (url, use) => shownToGit(credentials, orgId, { url, use }),
        refused: ({ token: shown }) => appTokens.forget(shown),
        pinHost: (id, knownHosts) => pinHost(db, orgId, { id, knownHosts }),
        openWay: (target) => repositoryProxy.admit(target),
      },
    });
    const asked: GithubPerformerOptions = {
      tokenFor: (orgId, place) => tokenFor(credentials, orgId, { place, use: "pull-request" }),
      fetchWith,
      now: Date.now,
    };
    const performers = {
      [PULL_REQUEST_EFFECT]: pullRequestPerformer(asked, (run, { pullRequest, follows }) => async (tx) => {
        if (follows !== null) await notePullRequest(tx, run, follows);
        await notePullRequest(tx, run, pullRequest);
      }),
      [REVIEW_EFFECT]: reviewPerformer(asked),
      [CHECKS_EFFECT]: checksPerformer({
        tokenFor: (orgId, place) => tokenFor(credentials, orgId, { place, use: "checks" }),
        fetchWith,
        now: Date.now,
        pace: checksPace(config.timings.pollMs),
        conclude: (effect, verdict) => ({
          also: (tx) => concludeChecks(tx, effect, { verdict, carryChecked }),
          after() {
            for (const topic of [effect.run_id ?? "", CLAIM]) wakes.notify(topic);
          },
        }),
      }),
    };
    const sealedNow = await sealPlainHeaders(db, vault);
    if (sealedNow > 0) log("info", `Encrypted the headers of MCP servers of ${sealedNow} runs and saved agents`);
    const token = onceWritten(home.adminTokenFile, newToken);
    await registerAdministrator(db, token);
    // How many runs there may be at a time is for those who serve: a runner that is added must not change it.
    if (config.role !== "runner") await limitHomeRuns(db, config.maxRuns);
    const simulatedModel = config.simulate ? { connected: true, simulated: true, model: "scripted-1" } : null;
    const { containerProgram, containerNode } = runtime;
    const driver = sandboxDrivers({ containerProgram, containerNode, homeId: runnerId }, toolchains);
    const memoryBudgetBytes = config.memoryBudgetBytes ?? defaultMemoryBudget(hostMemoryBytes());
    const memoryOfOneRun = (): number => Math.min(hostMemoryBytes(), memoryBudgetBytes);
    // Looked at once: it is told with every renewal of the lease.
    let found: ReturnType<typeof probeLimits> | undefined;
    const limits = () => (found ??= probeLimits());
    const own: OfferSources = {
      model: () => simulatedModel ?? modelState(config.providers),
      // An engine says itself which limits it keeps.
      probeSandbox: async (name) => ({ limits: limits(), ...(await driver(name).probe()) }),
      hostMemoryBytes: memoryOfOneRun,
    };
    const onLog = (level: "info" | "warn", message: string): void => log(level, message);
    const lease = executes
      ? await holdRunnerLease({
          ...runnerIdentity,
          connectionString,
          leaseMs: config.timings.leaseMs,
          offers: () => offersOf({ ...own, memoryBudgetBytes }),
          onLog,
        })
      : null;
    closing.push(async () => {
      await lease?.close();
      // Whoever leaves nothing behind is not missed by anybody. Where this cannot be said, that does no harm.
      if (lease !== null && living === 0) await retireRunner(db, runnerIdentity).catch(() => undefined);
    });
    const sweeper = await startSweeper({
      db,
      wakes,
      leaseMs: config.timings.leaseMs,
      ownRunnerId: executes ? runnerId : null,
      monotonicMs: () => performance.now(),
      withdraw: (request) => cancelRequest(request as NewRequest).event,
      log,
    });
    closing.push(() => sweeper.close());
    let gateway: Gateway | null = null;
    let workspaces: WorkspaceHost | null = null;
    const there = executes ? own : offeredBy(sweeper.alive, own);
    const engine = createEngine({
      db,
      wakes,
      vault,
      now: Date.now,
      describeAgent: resolveProfile,
      agentNames: profileNames,
      findRepository: (url, branch, orgId) => openRepository(gitOf(orgId), url, branch),
      inspectRepository: (url, branch, orgId) => inspectRepository(gitOf(orgId), url, branch),
      repositoryHosts: config.repositoryHosts,
      githubHosts: config.githubHosts,
      appToken: appTokens.tokenFor,
      editPullRequest: ({ place, token: shown, number }, change) =>
        editPullRequest(
          createGithubClient({ repository: place, token: shown, fetch: fetchWith(leaving.signal), now: Date.now }),
          number,
          change,
        ),
      readPullRequest: ({ place, token: shown, number }) =>
        readPullRequest({ repository: place, token: shown, fetch: fetchWith(leaving.signal), now: Date.now }, number),
      missingFiles: (repository, files) => missingFiles(git, repository, files),
      ...there,
      isPriced: (model) => isPriced(config.providers, model),
      // The logins are on the machines of those who execute runs.
      whyNoLogin: (profile) => (executes ? (lookAtOwnLogin(profile)?.reason ?? null) : null),
      costOf: (model, calls) => costOf(config.providers, model, calls),
      defaultDriver: config.defaultDriver,
      dockerImage: config.dockerImage,
      answers: {
        // What the store keeps of a request is what the conversation made of it.
        permission: (request, decision, person) => permissionAnswer(request as NewRequest, decision, person),
        question: (request, answer) => {
          const problem = answerProblem(request as NewRequest, answer);
          if (problem !== null) throw new RunyardError("invalid_request", problem, { errors: [{ path: "answer", message: problem }] });
          return questionAnswer(request as NewRequest, answer);
        },
      },
      changes: runChanges(gitOf, home.cacheDir),
      workspaces: () => workspaces,
      recordings: executes ? { runnerId, ...openRecordings(home.gatewayDir) } : null,
      carryOver,
      carryPlanned,
      status: {
        version: runtimeVersion(),
        startedAt: new Date().toISOString(),
        database: config.databaseUrl === null ? "embedded" : "external",
        role: config.role,
        providers: () =>
          (config.simulate ? [] : config.providers).map(({ name, api, baseUrl }) => ({ name, api, host: new URL(baseUrl).host })),
        models: () => gateway?.models() ?? null,
        probeLimits,
        probeAgents: () => probeProfiles(config.simulate ? [] : config.providers),
      },
      readiness: {
        freeBytes: () => Math.min(...[home.root, home.postgresDir].map(freeBytesOf)),
        // A server that executes nothing has none.
        askGateway: async () => gateway?.health(),
        isDraining: () => draining.signal.aborted,
      },
    });
    const runner = lease === null ? null : await execute(lease);
    if (executes) {
      const { retention } = config;
      void watchStrayContainers({ homeId: runnerId, log }, leaving.signal);
      const recordings = keptRecordings(home.gatewayDir);
      void watchRetention({ db, wakes, home, runnerId, retention, recordings, now: Date.now, log }, leaving.signal);
    }
    void watchDuePlans({ db, wakes, now: Date.now, carryPlanned }, leaving.signal, (error) =>
      log("error", "Plans that are due could not be decided about", { error: errorText(error) }),
    );
    const api = createApi({
      engine,
      authenticate: (bearer) => authenticate(db, bearer),
      logins: createLogins(db),
      allowedHosts: () => config.allowedHosts,
      log: ({ level, ...entry }) =>
        log(level, "request", { ...entry, ...(entry.error === undefined ? {} : { error: errorText(entry.error) }) }),
      isAway: (error) => error instanceof DatabaseUnavailableError,
      version: runtimeVersion(),
      timings: { pollMs: config.timings.pollMs },
    });
    const door = await api.listen({ host: config.host, port: config.port });
    const record: ServerRecord = { ...thisProcess(), url: door.url, version: runtimeVersion() };
    writeFileSync(home.serverFile, `${JSON.stringify(record)}\n`, { mode: 0o600 });
    log("info", "Serving", { ...record });

    return {
      url: door.url,
      tokenFile: home.adminTokenFile,
      get inHand() {
        return runner?.inHand ?? 0;
      },
      async drain() {
        if (!draining.signal.aborted) log("info", "Draining: no further runs are begun");
        draining.abort();
        await runner?.done;
      },
      async cancelRuns(reason) {
        draining.abort();
        let isDone = false;
        const done = Promise.resolve(runner?.done).then(() => (isDone = true));
        while (!isDone) {
          const cancelled = await cancelLivingRuns(db, { runnerId, reason }).catch(() => []);
          for (const id of cancelled) wakes.notify(control(id));
          await Promise.race([done, new Promise((resolve) => setTimeout(resolve, CANCEL_AGAIN_MS).unref())]);
        }
      },
      async stop() {
        leaving.abort();
        await door.close();
        await Promise.race([runner?.done, new Promise((resolve) => setTimeout(resolve, LET_GO_MS).unref())]);
        rmSync(home.serverFile, { force: true });
        await leave();
        return { livingRuns: living };
      },
    };

    /** Takes up runs: what a server does that does not only serve. */
    async function execute(held: RunnerLease): Promise<Runner> {
      const opened = await openGateway({
        home,
        program: runtime.gatewayProgram,
        onLog: (message) => log("info", message),
        extraCertificates: config.extraCertificates,
      });
      gateway = opened;
      closing.push(() => opened.close());
      await opened.setProviders(config.simulate ? [] : config.providers);
      const secret = onceWritten(home.secretFile, () => randomBytes(32).toString("hex"));
      await closeEndedRuns(opened, new Set((await livingRuns(db, runnerId)).map((run) => run.id)));
      const context: RunnerContext = {
        db,
        vault,
        wakes,
        lease: held,
        pollMs: config.timings.pollMs,
        home,
        spawner,
        git,
        gitOf,
        gateway: opened,
        driver,
        profile: resolveProfile,
        builtinAgentProgram: runtime.builtinAgentProgram,
        runToolsProgram: runtime.runToolsProgram,
        hostMemoryBytes: memoryOfOneRun,
        memoryBudgetBytes,
        readLogin: (profile) => {
          const login = resolveProfile(profile)?.ownLogin;
          if (typeof login === "object") return readLogin(login, { env: process.env, nowMs: Date.now() });
          throw new Error(login ?? `This server knows no agent "${profile}".`);
        },
        loginPlan: (profile) => lookAtOwnLogin(profile)?.plan ?? null,
        loginProvider: (profile) => {
          const way = config.loginWays[profile];
          if (way === undefined) throw new Error(`Nobody knows where the calls of ${profile} with its own login go`);
          return way;
        },
        gatewayToken: (run) => gatewayToken(secret, run),
        egressNetworks: config.egressNetworks,
        publicUrl: config.publicUrl,
        agentStartMs: config.agentStartMs,
        now: Date.now,
        log,
        draining: draining.signal,
        leaving: leaving.signal,
      };
      workspaces = { runnerId, openShell: (run, wish) => openShell(context, run, wish), ...workspaceReader(home) };
      void watchOutbox(
        { db, wakes, performer: runnerId, performers, pollMs: config.timings.pollMs, now: Date.now, chance: Math.random, log },
        leaving.signal,
      );
      return startRunner(context, runnerIdentity);
    }
  } catch (error) {
    await leave().catch((failure: unknown) => log("error", "A start that failed could not be undone", { error: errorText(failure) }));
    throw error;
  }
}

/** What is free for this user on the disk of a folder; a folder that is not there takes nothing. */
function freeBytesOf(dir: string): number {
  if (!existsSync(dir)) return Infinity;
  const { bavail, bsize } = statfsSync(dir);
  return bavail * bsize;
}

function modelState(providers: readonly ModelProvider[]): ModelState {
  // With several providers a model's name says whose it is.
  const told = providers.map(({ name, api, model }) => ({
    api,
    model: model !== null && providers.length > 1 ? `${name}/${model}` : model,
  }));
  return { connected: providers.length > 0, simulated: false, model: defaultModel(providers), providers: told };
}

async function probeProfiles(providers: readonly ModelProvider[]): Promise<ServerStatus["agents"]> {
  const { env } = process;
  return Promise.all(
    knownPrograms().map(async (profile) => {
      const { installed, version, reason } = await profile.probe(env);
      const credential = credentialOf(profile, { providers, env });
      const login = showLogin(lookAtOwnLogin(profile.name));
      return { name: profile.name, installed, version, reason, install: profile.install, credential, login };
    }),
  );
}

/** How the login stands that a profile's program holds here; null: its runs cannot have it. */
function lookAtOwnLogin(profile: string): LoginLook | null {
  const own = resolveProfile(profile)?.ownLogin;
  return typeof own === "object" ? lookAtLogin(own, { env: process.env, nowMs: Date.now() }) : null;
}

function showLogin(look: LoginLook | null): ServerStatus["agents"][number]["login"] {
  if (look === null) return null;
  const { expiresAtMs, reason } = look;
  return { usable: reason === null, expiresAt: expiresAtMs === null ? null : new Date(expiresAtMs).toISOString(), reason };
}

/** A run that ended while no server could tell the gateway so: its token must be worth nothing. */
async function closeEndedRuns(gateway: Gateway, living: ReadonlySet<string>): Promise<void> {
  const { runs } = await gateway.health();
  for (const id of runs.filter((run) => !living.has(run))) await gateway.closeRun(id);
}

export { livingAttempts, toolchainsFromEnvironment };

/** Ends what outlives a server: gateway, spawner and the embedded PostgreSQL. Returns whether there was anything to end. */
export async function stopHost(home: Home): Promise<boolean> {
  const hadGateway = await stopGateway(home);
  await stopSpawner(home.spawnerDir);
  const hadPostgres = await stopPostgres(home);
  for (const dir of socketDirsOutside(home)) rmSync(dir, { recursive: true, force: true });
  return hadGateway || hadPostgres;
}

/** The server that runs for this home, or null. */
export function livingServer(home: Home): ServerRecord | null {
  try {
    const record = JSON.parse(readFileSync(home.serverFile, "utf8")) as ServerRecord;
    return isAlive(record) ? record : null;
  } catch {
    return null;
  }
}

/** Kills what runs of a server that is gone left behind; their next server finds them lost. Returns how many there were. */
export async function endLeftRuns(home: Home): Promise<number> {
  const left = livingAttempts(home);
  for (const root of left) await killAttempt(root);
  return left.length;
}

function alreadyRunning(home: Home): string {
  const record = livingServer(home);
  const where = record === null ? "" : ` at ${record.url} (pid ${record.pid})`;
  return `Runyard is already running for ${home.root}${where}. Use it, stop it with \`runyard down\`, or set RUNYARD_HOME to another place.`;
}

function thisProcess(): ProcessIdentity {
  const identity = identifyProcess(process.pid);
  if (identity === null) throw new Error("This process cannot find itself: is /proc mounted?");
  return identity;
}

function errorText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The content of a file that is written once, with rights 0600, and kept for ever. It is there whole or not at all. */
function onceWritten(file: string, make: () => string): string {
  const draft = `${file}.${process.pid}.draft`;
  try {
    if (!existsSync(file)) {
      writeFileSync(draft, `${make()}\n`, { mode: 0o600, flush: true });
      linkSync(draft, file);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  const text = readFileSync(file, "utf8").trim();
  if (text === "") throw new Error(`${file} is empty. Remove it and start again.`);
  return text;
}

/** The key of this home, which its first start makes. */
function ownSecretsKey({ secretsKeyFile: file }: Home): Buffer {
  const text = onceWritten(file, () => randomBytes(KEY_BYTES).toString("base64"));
  if ((statSync(file).mode & 0o077) !== 0)
    throw new Error(`Others can read ${file}, the key of all secrets: take that away with \`chmod 600 ${file}\` and start again.`);
  return parseSecretsKey(text, file);
}

/** The same token for the same attempt, also after a restart; a new attempt makes the old one useless. */
function gatewayToken(secret: string, run: { readonly id: string; readonly attempt: number }): string {
  return `ryg_${createHmac("sha256", secret).update(`${run.id}:${run.attempt}`).digest("base64url")}`;
}

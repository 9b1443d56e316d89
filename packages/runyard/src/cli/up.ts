import { RunyardClient } from "@runyard/sdk";
import { SERVER_ROLES, type ServerStatus } from "@runyard/sdk/contract";
import { Option } from "commander";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import {
  allowedHostsFromEnvironment,
  databaseUrlFromEnvironment,
  DEFAULT_AGENT_START,
  DEFAULT_KEEP_RECORDINGS,
  DEFAULT_KEEP_SNAPSHOTS,
  DEFAULT_KEEP_WORKSPACES,
  DEFAULT_MAX_RUNS,
  DEFAULT_PORT,
  DEFAULT_STOP_TIMEOUT,
  egressNetworksFromEnvironment,
  ON_STOP,
  type OnStop,
  parseAgentStartTimeout,
  parseDays,
  parseDiskBudget,
  parseDockerImage,
  parseMaxRuns,
  parseMemoryBudget,
  parseOnStop,
  parsePort,
  parseRole,
  parseStopTimeout,
  type ServerConfiguration,
  secretsKeyFromEnvironment,
  githubHostsFromEnvironment,
  publicUrlFromEnvironment,
  repositoryHostsFromEnvironment,
  timingsFromEnvironment,
} from "../configuration.ts";
import { defaultHomeRoot, type Home, homeAt } from "../home.ts";
import type { RunningServer, toolchainsFromEnvironment } from "../main.ts";
import { extraCertificates, readLoginWays, readProviders } from "../providers.ts";
import { command, GROUP, jsonOption } from "./commands.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { localServer } from "./local-server.ts";
import { type Paint, paintFor, plural, say } from "./output.ts";
import { refuseUnusableHome } from "./refuse-home.ts";
import { proseWidthOf } from "./screen.ts";
import { describeModel } from "./status.ts";
import { seeToRuns, stopSignals } from "./stopping.ts";
import { explainFullDisk } from "./system-error.ts";
import { wrapBehind } from "./text.ts";

interface UpOptions {
  readonly port?: number;
  readonly maxRuns?: number;
  readonly role?: string;
  readonly simulate?: boolean;
  readonly unsafeProcess?: boolean;
  readonly dockerImage?: string;
  readonly onStop?: OnStop;
  readonly stopTimeout?: number;
  readonly keepWorkspaces?: number | null;
  readonly keepRecordings?: number | null;
  readonly keepSnapshots?: number | null;
  readonly diskBudget?: number;
  readonly memoryBudget?: number;
  readonly json?: boolean;
}

export const up = command("up", {
  summary: "Start Runyard on this machine and serve until Ctrl-C",
  group: GROUP.server,
  more: `Models are connected by the environment of this command, and by providers.json in RUNYARD_HOME. Keys stay outside of every sandbox:
  OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, OPENROUTER_API_KEY, MISTRAL_API_KEY, GROQ_API_KEY, DEEPSEEK_API_KEY, XAI_API_KEY
                    keys of providers; each that is set connects one
  OPENAI_BASE_URL   any OpenAI-compatible endpoint, with a key or without
  RUNYARD_MODEL     the model of runs that name none: its name, or provider/name
  DATABASE_URL      a PostgreSQL server to use in place of the embedded one
  RUNYARD_SECRETS_KEY
                    the key of secrets, where several servers share a database
  RUNYARD_HOME      where everything is kept (default: ~/.runyard)
  RUNYARD_TOOLCHAINS
                    directories with programs for sandboxes, with colons, beside those that are found by PATH
  RUNYARD_ALLOWED_HOSTS
                    names of a proxy in front of the server, with commas
  RUNYARD_PUBLIC_URL
                    where people reach the server, for links in pull requests
  RUNYARD_GITHUB_HOSTS
                    GitHub servers beside github.com and *.ghe.com, with commas
  RUNYARD_REPOSITORY_HOSTS, RUNYARD_EGRESS_NETWORKS
                    hosts of repositories, and networks for hosts that runs may reach, which may be at addresses that are not public

Ctrl-C with no run in flight leaves nothing running. With runs in flight, agents go on: the next \`runyard up\` takes them over, \`runyard down\` ends them. Where whatever ends the server ends its agents too (a container, a service), use --on-stop stop: no further runs are begun, and those in hand are waited for. With --json, one line of JSON says when the server is ready.`,
  examples: [
    "OPENAI_BASE_URL=http://127.0.0.1:11434/v1 RUNYARD_MODEL=qwen3-coder runyard up",
    "runyard up --simulate",
    "runyard up --port 0 --json",
    "DATABASE_URL=postgres://… runyard up --role runner",
  ],
})
  .option("-p, --port <number>", `port on 127.0.0.1; 0 takes a free one (default: RUNYARD_PORT or ${DEFAULT_PORT})`, portOf)
  .option(
    "--max-runs <number>",
    `runs at a time; further ones are queued, and those that wait for a person count too (default: RUNYARD_MAX_RUNS or ${DEFAULT_MAX_RUNS})`,
    maxRunsOf,
  )
  .addOption(new Option("--role <role>", "serve and execute runs, or one of the two (default: RUNYARD_ROLE or all)").choices(SERVER_ROLES))
  .option("--simulate", "serve every run on Runyard's scripted model; such runs are marked simulated")
  .option("--unsafe-process", "run agents WITHOUT isolation: they can read and change whatever you can")
  .option(
    "--docker-image <image>",
    "the container image of runs with --sandbox docker that name none (default: RUNYARD_DOCKER_IMAGE)",
    dockerImageOf,
  )
  .option(
    "--on-stop <what>",
    `at Ctrl-C or SIGTERM, runs in hand live on (leave), are waited for (stop) or are cancelled (kill) (default: RUNYARD_ON_STOP or ${ON_STOP[0]})`,
    onStopOf,
  )
  .option(
    "--stop-timeout <seconds>",
    `how long \`stop\` waits; what runs then lives on (default: RUNYARD_STOP_TIMEOUT or ${DEFAULT_STOP_TIMEOUT})`,
    stopTimeoutOf,
  )
  .option(
    "--keep-workspaces <days>",
    `how long the workspaces of ended runs are kept; "forever" (default: RUNYARD_KEEP_WORKSPACES or ${DEFAULT_KEEP_WORKSPACES})`,
    daysOf,
  )
  .option(
    "--keep-recordings <days>",
    `how long the recordings of their model calls are (default: RUNYARD_KEEP_RECORDINGS or ${DEFAULT_KEEP_RECORDINGS})`,
    daysOf,
  )
  .option(
    "--keep-snapshots <days>",
    `how long what set-up made is, once no run begins with it any more (default: RUNYARD_KEEP_SNAPSHOTS or ${DEFAULT_KEEP_SNAPSHOTS})`,
    daysOf,
  )
  .option("--disk-budget <GB>", "what all of that may take; the oldest goes first (default: RUNYARD_DISK_BUDGET or no limit)", diskBudgetOf)
  .option(
    "--memory-budget <GB>",
    "what the sandboxes of runs may have of the memory together; further runs wait (default: RUNYARD_MEMORY_BUDGET or all but a tenth)",
    memoryBudgetOf,
  )
  .addOption(jsonOption())
  .action(async (options: UpOptions) => {
    // First: a part of the configuration is read from it.
    refuseUnusableHome(homeAt(defaultHomeRoot()));
    const { startServer, toolchainsFromEnvironment } = await import("../main.ts");
    const config = configurationOf(options, process.env, toolchainsFromEnvironment);
    refuseSecond(config.home);
    let ready = false;
    const onStop = options.onStop ?? onStopOf(process.env["RUNYARD_ON_STOP"] || ON_STOP[0]);
    const stopTimeout = options.stopTimeout ?? stopTimeoutOf(process.env["RUNYARD_STOP_TIMEOUT"] || String(DEFAULT_STOP_TIMEOUT));
    const signals = stopSignals(() => ready || say("Stopping as soon as the start is through…"));
    const paint = paintFor(process.stderr);
    const server = await startServer(config, (message) => say(paint("dim", message))).catch((error: unknown) => {
      const full = explainFullDisk(config.home.root);
      throw full === null ? error : new CliError(full.message, { advice: full.advice });
    });
    try {
      await introduce(server, { paint, json: options.json ?? false });
    } catch (error) {
      await server.stop();
      throw error;
    }
    ready = true;
    await seeToRuns(server, { signals, onStop, timeoutMs: stopTimeout * 1000 });
    signals.letGo();
    say(paint("dim", "Stopping…"));
    const { livingRuns } = await server.stop();
    if (livingRuns === 0) say("Stopped. Nothing is left running.");
    else {
      say(`The server stopped. ${plural(livingRuns, "run")} and what they need live on:`);
      say("  runyard up     goes on with them\n  runyard down   ends everything");
      if (config.databaseUrl !== null)
        say("Other runners of this database begin them anew, if there are any, unless you are back in some seconds.");
    }
    process.exit(EXIT.ok);
  });

/** Says so at once: the lock in the database would tell only after a start of everything else. */
function refuseSecond(home: Home): void {
  const other = localServer(home);
  if (other === null) return;
  throw new CliError(`Runyard is already running for ${home.root} at ${other.url} (pid ${other.pid}).`, {
    advice: "Use it, stop it with `runyard down`, or set RUNYARD_HOME to another place.",
  });
}

/** What a person must know of a server that has just started; with `json`, the line for programs comes last. */
async function introduce(server: RunningServer, { paint, json }: { readonly paint: Paint; readonly json: boolean }): Promise<void> {
  const client = new RunyardClient({ baseUrl: server.url, token: readFileSync(server.tokenFile, "utf8").trim() });
  const [status, link] = await Promise.all([client.status(), client.createLoginLink()]);
  const width = proseWidthOf(process.stderr);
  const row = (name: string, text: string): void => say(wrapBehind(`  ${paint("dim", name.padEnd(9))} `, text, width));
  say(`${paint(["bold", "green"], "Runyard is ready")} at ${server.url}`);
  row("sign in", `${link.url} ${paint("dim", "(once)")}`);
  row("token", server.tokenFile);
  row("model", describeModel(status, paint));
  const warning = isolationWarning(status);
  if (warning !== null) say(wrapBehind(`  ${paint(["bold", "red"], "UNSAFE   ")} `, warning, width));
  row("try", 'runyard run "say what this project does"');
  if (json)
    process.stdout.write(`${JSON.stringify({ url: server.url, loginUrl: link.url, tokenFile: server.tokenFile, pid: process.pid })}\n`);
}

/** Said before the first run meets it. */
function isolationWarning({ sandbox }: ServerStatus): string | null {
  if (!sandbox.available) {
    return `agents cannot be isolated here, so runs are refused. ${sandbox.reason ?? ""} Or start with --unsafe-process: agents can then read and change whatever you can.`;
  }
  if (sandbox.isolation.filesystem === "hard") return null;
  return "agents run WITHOUT isolation: they can read and change whatever you can, this server's token included.";
}

function configurationOf(
  options: UpOptions,
  env: NodeJS.ProcessEnv,
  readToolchains: typeof toolchainsFromEnvironment,
): ServerConfiguration {
  const home = homeAt(defaultHomeRoot(env));
  const databaseUrl = understood(() => databaseUrlFromEnvironment(env), "Correct it, or leave it out to use the built-in PostgreSQL.");
  return {
    home,
    host: "127.0.0.1",
    port: options.port ?? portOf(env["RUNYARD_PORT"] || String(DEFAULT_PORT)),
    simulate: options.simulate ?? false,
    maxRuns: options.maxRuns ?? maxRunsOf(env["RUNYARD_MAX_RUNS"] || String(DEFAULT_MAX_RUNS)),
    memoryBudgetBytes: options.memoryBudget ?? (env["RUNYARD_MEMORY_BUDGET"] ? memoryBudgetOf(env["RUNYARD_MEMORY_BUDGET"]) : null),
    defaultDriver: options.unsafeProcess === true ? "process" : "bwrap",
    dockerImage: options.dockerImage ?? (env["RUNYARD_DOCKER_IMAGE"] ? dockerImageOf(env["RUNYARD_DOCKER_IMAGE"]) : null),
    databaseUrl,
    providers: understood(() => readProviders(home, env), "Correct it, or leave it out to start without a model."),
    loginWays: understood(() => readLoginWays(home, env), "Correct it, or leave it out."),
    allowedHosts: understood(() => allowedHostsFromEnvironment(env), "Correct it, or leave it out."),
    role: understood(() => parseRole(options.role ?? (env["RUNYARD_ROLE"] || "all"), databaseUrl), "Set it with --role or RUNYARD_ROLE."),
    secretsKey: understood(() => secretsKeyFromEnvironment(env), "Correct it, or leave it out to use the key of this home."),
    timings: timingsFromEnvironment(env),
    githubHosts: understood(() => githubHostsFromEnvironment(env), "Correct it, or leave it out."),
    publicUrl: understood(() => publicUrlFromEnvironment(env), "Correct it, or leave it out."),
    repositoryHosts: understood(() => repositoryHostsFromEnvironment(env), "Correct it, or leave it out."),
    egressNetworks: understood(() => egressNetworksFromEnvironment(env), "Correct it, or leave it out."),
    agentStartMs:
      1000 *
      understood(
        () => parseAgentStartTimeout(env["RUNYARD_AGENT_START_TIMEOUT"] || String(DEFAULT_AGENT_START)),
        "Correct it, or leave it out.",
      ),
    extraCertificates: understood(() => extraCertificates(env), "Correct it, or leave it out."),
    toolchains: understood(
      () => readToolchains({ env, home: homedir(), runyardHome: home.root }),
      "Correct it, or leave it out: toolchains in the usual places are found by PATH.",
    ),
    retention: retentionOf(options, env),
  };
}

const DAY_MS = 86_400_000;

function retentionOf(options: UpOptions, env: NodeJS.ProcessEnv): ServerConfiguration["retention"] {
  const daysMs = (flag: number | null | undefined, name: string, usual: number): number | null => {
    const days = flag === undefined ? daysOf(env[name] || String(usual)) : flag;
    return days === null ? null : days * DAY_MS;
  };
  const gigabytes = options.diskBudget ?? (env["RUNYARD_DISK_BUDGET"] ? diskBudgetOf(env["RUNYARD_DISK_BUDGET"]) : null);
  return {
    workspaceMs: daysMs(options.keepWorkspaces, "RUNYARD_KEEP_WORKSPACES", DEFAULT_KEEP_WORKSPACES),
    recordingMs: daysMs(options.keepRecordings, "RUNYARD_KEEP_RECORDINGS", DEFAULT_KEEP_RECORDINGS),
    snapshotMs: daysMs(options.keepSnapshots, "RUNYARD_KEEP_SNAPSHOTS", DEFAULT_KEEP_SNAPSHOTS),
    diskBytes: gigabytes === null ? null : gigabytes * 1e9,
  };
}

function daysOf(text: string): number | null {
  return understood(() => parseDays(text), "Set it with --keep-workspaces, --keep-recordings and --keep-snapshots, or in the environment.");
}

function diskBudgetOf(text: string): number {
  return understood(() => parseDiskBudget(text), "Set it with --disk-budget or RUNYARD_DISK_BUDGET.");
}

function memoryBudgetOf(text: string): number {
  return understood(() => parseMemoryBudget(text), "Set it with --memory-budget or RUNYARD_MEMORY_BUDGET.");
}

function dockerImageOf(text: string): string {
  return understood(() => parseDockerImage(text), "Set it with --docker-image or RUNYARD_DOCKER_IMAGE.");
}

function portOf(text: string): number {
  return understood(() => parsePort(text), "Set it with --port or RUNYARD_PORT.");
}

function maxRunsOf(text: string): number {
  return understood(() => parseMaxRuns(text), "Set it with --max-runs or RUNYARD_MAX_RUNS.");
}

function onStopOf(text: string): OnStop {
  return understood(() => parseOnStop(text), "Set it with --on-stop or RUNYARD_ON_STOP.");
}

function stopTimeoutOf(text: string): number {
  return understood(() => parseStopTimeout(text), "Set it with --stop-timeout or RUNYARD_STOP_TIMEOUT.");
}

/** A value that somebody gave; one that cannot be is an error of the command line. */
function understood<T>(read: () => T, advice: string): T {
  try {
    return read();
  } catch (error) {
    throw new CliError((error as Error).message, { advice, exitCode: EXIT.usage });
  }
}

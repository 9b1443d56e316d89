import type { ServerStatus } from "@runyard/sdk/contract";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { type Paint, paintFor, plural, print, printJson, roughDuration } from "./output.ts";
import { proseWidthOf } from "./screen.ts";
import { wrapBehind } from "./text.ts";

export const status = command("status", {
  summary: "Say whether a server runs, and how it stands",
  group: GROUP.server,
  more: "Exit code 1 where none runs.",
  examples: [
    "runyard status",
    "runyard status --json | jq .runs.running",
    "RUNYARD_URL=http://build-1:4600 RUNYARD_TOKEN=… runyard status",
  ],
})
  .addOption(jsonOption())
  .action(async (options: { json?: boolean }) => {
    const client = connect();
    // Whoever asks whether it runs wants to know now.
    const found = await client.status({ maxRetries: 0, timeoutMs: 10_000 });
    if (options.json === true) printJson({ url: client.baseUrl, ...found });
    else print(renderStatus(found, client.baseUrl));
  });

function renderStatus(found: ServerStatus, url: string): string {
  const paint = paintFor(process.stdout);
  const width = proseWidthOf(process.stdout);
  const row = (name: string, text: string): string => wrapBehind(`  ${paint("dim", name.padEnd(9))} `, text, width);
  const up = roughDuration(Math.max(0, Date.now() - Date.parse(found.startedAt)));
  const { running, waiting, awaitingPlan, awaitingChecks, queued, limit } = found.runs;
  const plans = awaitingPlan > 0 ? `, ${awaitingPlan} with a plan to decide about` : "";
  // Servers of earlier versions know of none.
  const checks = awaitingChecks > 0 ? `, ${awaitingChecks} waiting for checks` : "";
  return [
    found.draining
      ? `${paint(["bold", "yellow"], "draining")} at ${url}: it begins no further runs, and ends once those in hand have`
      : `${paint(["bold", "green"], "running")} at ${url}`,
    row("version", `${found.version}, up for ${up}`),
    row("model", describeModel(found, paint)),
    row("sandbox", describeSandbox(found, paint)),
    row("limits", describeLimits(found)),
    row("agents", describeAgents(found)),
    row("database", found.database === "embedded" ? "the built-in PostgreSQL" : "the PostgreSQL of DATABASE_URL"),
    ...(found.role === "all" && found.runners.length < 2 ? [] : [row("role", ROLES[found.role]), row("runners", describeRunners(found))]),
    row("runs", `${running} running, ${waiting} waiting for an answer, ${queued} queued${plans}${checks}; at most ${limit} at a time`),
  ].join("\n");
}

const ROLES = {
  all: "all: serves, and executes runs",
  api: "api: serves, and leaves runs to others",
  runner: "runner: executes runs",
} as const;

/** Seen from here by this machine's clock; the database's own may differ. */
function describeRunners({ runners }: ServerStatus): string {
  const shown = runners.map(({ id, state, runs, lastSeen }) => {
    const ago = roughDuration(Math.max(0, Date.now() - Date.parse(lastSeen)));
    return `${id} ${state}, ${plural(runs, "run")}, seen ${ago} ago`;
  });
  return shown.length === 0 ? "none: runs wait until there is one" : shown.join("; ");
}

const NONE_NAMED = "each run must name one with --model (RUNYARD_MODEL is not set)";

export function describeModel({ model, simulated }: ServerStatus, paint: Paint): string {
  if (simulated) return paint("yellow", "scripted-1, simulated: no AI answers");
  if (!model.connected) {
    return paint(
      "yellow",
      "none is connected: set OPENAI_BASE_URL, or a key such as OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY, and RUNYARD_MODEL and start `runyard up` again; until then runs fail with no-model-configured",
    );
  }
  if (model.providers.length > 1) {
    const list = model.providers.map(({ name, host }) => `${name} at ${host}`).join(", ");
    return `${model.name ?? NONE_NAMED}; connected: ${list}`;
  }
  return `${model.name ?? NONE_NAMED}${model.host === null ? "" : ` at ${model.host}`}`;
}

function describeSandbox({ sandbox }: ServerStatus, paint: Paint): string {
  if (!sandbox.available) return paint("red", `${sandbox.driver} cannot be used. ${sandbox.reason ?? ""}`.trim());
  if (sandbox.isolation.filesystem === "none")
    return paint("red", `${sandbox.driver}: NO ISOLATION, agents can read and change whatever the server's user can`);
  return `${sandbox.driver}: files, network and processes are isolated`;
}

function describeLimits({ sandbox: { limits } }: ServerStatus): string {
  const named = { memory: limits.memory, cpu: limits.cpus, processes: limits.pids };
  const pick = (wanted: boolean): string[] => Object.entries(named).flatMap(([name, has]) => (has === wanted ? [name] : []));
  const [kept, open] = [pick(true), pick(false)];
  if (open.length === 0) return `${kept.join(", ")} are limited for each run`;
  const all = kept.length === 0 ? `${open.join(", ")} are not limited` : `${kept.join(", ")} limited, ${open.join(", ")} not`;
  return `${all}: this machine does not let the server make control groups for it`;
}

function describeAgents({ agents }: ServerStatus): string {
  const there = agents
    .filter((agent) => agent.installed)
    .map((agent) => (agent.version === null ? agent.name : `${agent.name} ${agent.version}`));
  const missing = agents.filter((agent) => !agent.installed).map((agent) => agent.name);
  return `${there.join(", ")}${missing.length === 0 ? "" : ` (not installed: ${missing.join(", ")})`}`;
}

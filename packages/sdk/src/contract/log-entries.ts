import { spentWords } from "./budget.ts";
import type { EventData, RunEvent } from "./events.ts";
import { ruleWords } from "./permission-policy.ts";
import type { PlanDecider } from "./plan.ts";
import { baseUpdatedWords } from "./rebase.ts";
import type { LogEntry } from "./results.ts";
import { shellWords } from "./workspaces.ts";

/**
 * What an event says to somebody who reads a run as a log, or null for one that says nothing new there:
 * pieces of a message (the whole message follows), beginnings of what ends, figures.
 */
export function toLogEntry(event: RunEvent): LogEntry | null {
  const said = words(event);
  return said === null ? null : { seq: event.seq, at: event.at, ...said };
}

type Words = Pick<LogEntry, "level" | "source" | "message">;

function words(event: RunEvent): Words | null {
  switch (event.type) {
    case "message.user":
      return { level: "info", source: "user", message: event.data.text };
    case "message.completed":
      return { level: event.data.kind === "thought" ? "debug" : "info", source: "agent", message: event.data.text };
    case "tool.finished":
      return toolWords(event.data);
    case "plan.updated":
      return {
        level: "info",
        source: "agent",
        message: event.data.entries.map((entry) => `[${entry.status}] ${entry.content}`).join("\n"),
      };
    case "progress.reported":
      return { level: "info", source: "agent", message: `${event.data.percentage} %: ${event.data.message}` };
    case "permission.resolved":
      return {
        level: "info",
        source: "runyard",
        message: `permission ${event.data.permissionId}: ${event.data.decision} (${decidedBy(event.data)})`,
      };
    case "permission.rule_added":
      return { level: "info", source: "runyard", message: rememberedWords(event.data) };
    case "question.asked":
      return { level: "info", source: "agent", message: event.data.question };
    case "question.answered":
      return event.data.answer === null ? null : { level: "info", source: "user", message: event.data.answer };
    case "notice":
      return { level: event.data.level, source: "runyard", message: event.data.message };
    case "egress.denied":
      return { level: "warning", source: "runyard", message: `refused to reach ${event.data.target}: ${event.data.reason}` };
    case "secret.used":
      return { level: "info", source: "runyard", message: secretUsedWords(event.data) };
    case "shell.opened":
      return { level: "info", source: "runyard", message: shellWords(event.data) };
    case "replay.diverged":
      return { level: "warning", source: "runyard", message: divergenceWords(event.data) };
    case "budget.warned":
      return { level: "warning", source: "runyard", message: `four fifths of the budget are spent: ${spentWords(event.data)}` };
    case "budget.exceeded":
      return { level: "error", source: "runyard", message: event.data.message };
    case "log":
      return { level: "debug", source: "agent", message: event.data.text };
    default:
      return stageWords(event);
  }
}

export function secretUsedWords({ secret, host, requests }: EventData<"secret.used">): string {
  return `put the secret ${secret} into ${requests === 1 ? "a request" : `${requests} requests`} to ${host}`;
}

function rememberedWords({ rule, userName, userId }: EventData<"permission.rule_added">): string {
  return `permission remembered for this run: ${ruleWords(rule)} (${userName ?? userId})`;
}

/** Who or what decided: `policy, rule 2`, `person, admin`; without the second where an older version did not say. */
export function decidedBy(data: EventData<"permission.resolved">): string {
  const which = data.by === "policy" ? data.rule : (data.userName ?? data.userId);
  return which === undefined ? data.by : `${data.by}, ${which}`;
}

function divergenceWords({ exchange, kind, path, recorded, replayed }: EventData<"replay.diverged">): string {
  const place = `differs from the recording at exchange ${exchange}`;
  if (kind !== "request") return `${place} (${kind})`;
  return `${place}, in ${path}:\n- ${recorded ?? "(nothing)"}\n+ ${replayed ?? "(nothing)"}`;
}

function toolWords(data: Extract<RunEvent, { type: "tool.finished" }>["data"]): Words {
  const exit = data.exitCode === null ? "" : ` (exit ${data.exitCode})`;
  const failed = data.status === "failed" ? " failed" : "";
  return {
    level: data.status === "failed" ? "warning" : "info",
    source: "tool",
    message: `${data.kind}: ${data.title}${failed}${exit}${data.output ? `\n${data.output}` : ""}`,
  };
}

/** Plans and what was decided about them; null: it is another event. */
function planWords(event: RunEvent): Words | null {
  switch (event.type) {
    case "plan.proposed":
      return { level: "info", source: "agent", message: `plan ${event.data.version}:\n${event.data.text}` };
    case "plan.edited":
      return {
        level: "info",
        source: "user",
        message: `plan ${event.data.version}, in place of plan ${event.data.replaces} (${planDecider(event.data)}):\n${event.data.text}`,
      };
    case "plan.approved":
      return { level: "info", source: "runyard", message: `plan ${event.data.version} approved (${planDecider(event.data)})` };
    case "plan.revised":
      return {
        level: "info",
        source: "user",
        message: `plan ${event.data.version} sent back (${planDecider(event.data)}): ${event.data.feedback}`,
      };
    case "plan.rejected":
      return {
        level: "warning",
        source: "runyard",
        message: `plan ${event.data.version} rejected (${planDecider(event.data)}): ${event.data.reason}`,
      };
    default:
      return null;
  }
}

/** Who decided about a plan: `policy`, `person, admin`. */
function planDecider({ by, userName, userId }: PlanDecider): string {
  const who = userName ?? userId;
  return who === undefined ? by : `${by}, ${who}`;
}

/** Where the run stands, and how it ended. */
function stageWords(event: RunEvent): Words | null {
  switch (event.type) {
    case "run.phase":
      return { level: "info", source: "runyard", message: event.data.phase };
    case "sandbox.ready":
      return { level: "info", source: "runyard", message: `sandbox ${event.data.sandbox.driver} is ready` };
    case "agent.started":
      return {
        level: "info",
        source: "runyard",
        message: `agent ${[event.data.name, event.data.version].filter(Boolean).join(" ") || "started"}`,
      };
    case "run.completed":
      return {
        level: "info",
        source: "runyard",
        message: event.data.result.headBranch === null ? "completed without a change" : `completed: ${event.data.result.headBranch}`,
      };
    case "result.pr":
      return { level: "info", source: "runyard", message: `pull request: ${event.data.pullRequest.url}` };
    case "run.failed":
    case "run.timeout":
      return { level: "error", source: "runyard", message: `${event.data.error.type}: ${event.data.error.message}` };
    case "run.retrying":
      return {
        level: "warning",
        source: "runyard",
        message: `attempt ${event.attempt} ended with ${event.data.error.type}: ${event.data.error.message} Attempt ${event.data.attempt} follows`,
      };
    case "verify.finished": {
      const { command, kind, passed, cause, exitCode, output } = event.data;
      const how = passed ? "succeeded" : (cause ?? `exit ${exitCode}`);
      return {
        level: passed ? "info" : "warning",
        source: "runyard",
        message: `${kind}: ${command} (${how})${passed || output === "" ? "" : `\n${output}`}`,
      };
    }
    case "setup.finished": {
      const { command, passed, cause, exitCode, output } = event.data;
      const how = passed ? "succeeded" : (cause ?? `exit ${exitCode}`);
      return {
        level: passed ? "info" : "warning",
        source: "runyard",
        message: `set-up: ${command} (${how})${passed || output === "" ? "" : `\n${output}`}`,
      };
    }
    case "snapshot.restored":
      return { level: "info", source: "runyard", message: `set-up from ${event.data.snapshotId} (${event.data.cacheKey})` };
    case "snapshot.kept":
      return { level: "info", source: "runyard", message: `set-up kept as ${event.data.snapshotId} (${event.data.cacheKey})` };
    case "checks.started":
      return { level: "info", source: "runyard", message: `waits for the checks of ${event.data.commit.slice(0, 10)}` };
    case "checks.finished":
      return {
        level: event.data.outcome === "passed" || event.data.outcome === "none" ? "info" : "warning",
        source: "runyard",
        message: `checks: ${event.data.message}`,
      };
    case "base.updated":
      return {
        level: event.data.outcome === "conflicts" ? "warning" : "info",
        source: "runyard",
        message: `base: ${baseUpdatedWords(event.data)}`,
      };
    case "run.cancelled":
      return { level: "warning", source: "runyard", message: `cancelled: ${event.data.reason}` };
    default:
      return approvalWords(event) ?? planWords(event);
  }
}

/** Approvals and what was decided about them; null: it is another event. */
function approvalWords(event: RunEvent): Words | null {
  switch (event.type) {
    case "approval.requested":
      return { level: "warning", source: "runyard", message: `waits for an approval: ${event.data.title}` };
    case "result.held":
      return { level: "warning", source: "runyard", message: `waits for an approval before it is published: ${event.data.title}` };
    case "approval.granted":
      return { level: "info", source: "runyard", message: `approved (person, ${event.data.userName ?? event.data.userId})` };
    case "approval.rejected":
      return {
        level: "warning",
        source: "runyard",
        message: `rejected (person, ${event.data.userName ?? event.data.userId}): ${event.data.reason}`,
      };
    default:
      return null;
  }
}

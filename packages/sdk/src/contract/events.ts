import { z } from "zod";
import { approvalEventSchemas } from "./approval.ts";
import { attemptEventSchemas } from "./attempts.ts";
import { budgetEventSchemas } from "./budget.ts";
import { checksEventSchemas } from "./checks.ts";
import { furtherRepositoryShownSchema } from "./further-repositories.ts";
import { runIdSchema } from "./ids.ts";
import { permissionPolicySchema, permissionRuleViewSchema, toolKindSchema } from "./permission-policy.ts";
import { planEventSchemas } from "./plan.ts";
import { publishingEventSchemas } from "./publishing.ts";
import { pullRequestSchema } from "./pull-requests.ts";
import { rebaseEventSchemas } from "./rebase.ts";
import { replayEventSchemas } from "./recordings.ts";
import { runResultSchema, sandboxSchema } from "./run.ts";
import { setupEventSchemas } from "./setup.ts";
import { runErrorSchema, runPhaseSchema } from "./status.ts";
import { modelCallSchema } from "./usage.ts";
import { workspaceEventSchemas } from "./workspaces.ts";

const toolStatus = z.enum(["pending", "in_progress", "completed", "failed"]);
const planEntry = z.object({
  content: z.string(),
  status: z.enum(["pending", "in_progress", "completed"]),
  priority: z.enum(["high", "medium", "low"]),
});
/** A preview of a change as the agent told it; what really changed comes from git. */
const toolDiff = z.object({ path: z.string(), oldText: z.string().nullable(), newText: z.string() });

const toolData = z.object({
  toolCallId: z.string(),
  title: z.string(),
  kind: toolKindSchema,
  status: toolStatus,
  /** Text that the tool has put out so far, cut at 64 KiB. */
  output: z.string().nullable(),
  /** The exit code of a command, where the agent reports one (`rawOutput.exitCode`). */
  exitCode: z.number().int().nullable(),
  diffs: z.array(toolDiff),
  locations: z.array(z.string()),
});

/**
 * The `data` of every event that Runyard emits, by type. A type is past tense for a fact. Shapes grow
 * by addition only; readers skip types and fields that they do not know.
 */
export const eventDataSchemas = {
  "run.created": z.object({
    task: z.string(),
    repositoryUrl: z.string(),
    branch: z.string().nullable(),
    baseCommit: z.string(),
    /** Those that it has beside that one; left out: none. */
    repositories: z.array(furtherRepositoryShownSchema).optional(),
    /** `name`: of a saved agent. */
    agent: z.object({ name: z.string().nullable().optional(), profile: z.string(), command: z.array(z.string()).nullable() }),
    model: z.string().nullable(),
    simulated: z.boolean(),
    permissionPolicy: permissionPolicySchema,
    /** The run that is replayed. */
    replayOf: runIdSchema.optional(),
  }),
  "run.started": z.object({ runnerId: z.string() }),
  "run.phase": z.object({ phase: runPhaseSchema }),
  "run.completed": z.object({ result: runResultSchema }),
  "run.failed": z.object({ error: runErrorSchema }),
  "run.cancelled": z.object({ reason: z.string() }),
  "run.timeout": z.object({ error: runErrorSchema }),
  /** The prompt of the turn is the `message.user` before it. */
  "turn.started": z.object({}),
  /** `stopReason` is ACP's, or null when the agent answered with an error. */
  "turn.ended": z.object({ stopReason: z.string().nullable(), error: z.string().nullable() }),
  "sandbox.ready": z.object({ sandbox: sandboxSchema }),
  "agent.started": z.object({
    name: z.string().nullable(),
    version: z.string().nullable(),
    pid: z.number().int().nullable(),
    sessionId: z.string(),
  }),
  "message.user": z.object({ text: z.string() }),
  /** Pieces of one message share a `messageId`; `message.completed` holds the whole text. */
  "message.delta": z.object({ messageId: z.string(), kind: z.enum(["text", "thought"]), text: z.string() }),
  "message.completed": z.object({ messageId: z.string(), kind: z.enum(["text", "thought"]), text: z.string() }),
  "plan.updated": z.object({ entries: z.array(planEntry) }),
  /** How far the work is in the agent's own words, in percent; the run's `progress.percentage` never goes back. */
  "progress.reported": z.object({ percentage: z.number().min(0).max(100), message: z.string() }),
  "tool.started": toolData,
  "tool.updated": toolData,
  "tool.finished": toolData,
  "permission.requested": z.object({
    permissionId: z.string(),
    toolCallId: z.string(),
    title: z.string(),
    kind: toolKindSchema,
    /** Who decides: for `policy` the answer follows at once, for `person` the run waits. */
    decidedBy: z.enum(["policy", "person"]),
    options: z.array(z.object({ id: z.string(), kind: z.string(), name: z.string() })),
  }),
  "permission.resolved": z.object({
    permissionId: z.string(),
    decision: z.enum(["allow", "deny", "cancelled"]),
    optionId: z.string().nullable(),
    by: z.enum(["policy", "person"]),
    /** The rule that decided, for a decision of the policy: its name, or `default`. */
    rule: z.string().optional(),
    /** Who decided, for a decision of a person. */
    userId: z.string().optional(),
    userName: z.string().optional(),
  }),
  /** A person's answer was remembered: the rule stands in front of the run's policy from here on. */
  "permission.rule_added": z.object({
    permissionId: z.string(),
    rule: permissionRuleViewSchema,
    userId: z.string(),
    userName: z.string().optional(),
  }),
  "question.asked": z.object({ questionId: z.string(), question: z.string() }),
  "question.answered": z.object({ questionId: z.string(), answer: z.string().nullable(), by: z.enum(["policy", "person"]) }),
  /** Running totals, after model calls have ended, and those calls. */
  "usage.updated": z.object({
    source: z.enum(["gateway", "agent", "estimate"]),
    inputTokens: z.number().int().nullable(),
    outputTokens: z.number().int().nullable(),
    cachedInputTokens: z.number().int().nullable(),
    cacheWriteTokens: z.number().int().nullable().optional(),
    reasoningTokens: z.number().int().nullable().optional(),
    modelCalls: z.number().int(),
    failedModelCalls: z.number().int(),
    /** US dollars, of the calls with a known cost; null: none has one. */
    costUsd: z.number().nullable().optional(),
    /** Calls without a known cost. */
    unpricedCalls: z.number().int().optional(),
    /** The calls that have ended since the last event of this type. */
    calls: z.array(modelCallSchema).optional(),
  }),
  /** A host that a program wanted to reach and was not let to: its name and port as they were asked for, once for each. */
  "egress.denied": z.object({ target: z.string(), reason: z.string() }),
  /** The gateway put a secret into the header of so many requests to its host since the last event of this kind. */
  "secret.used": z.object({ secret: z.string(), host: z.string(), requests: z.number().int() }),
  /** A model call that failed: what the provider (or the way to it) said. */
  notice: z.object({ level: z.enum(["info", "warning"]), code: z.string(), message: z.string() }),
  /** A line of the agent's that is no message of the protocol, cut at 2,000 characters. */
  log: z.object({ text: z.string() }),
  "mode.changed": z.object({ modeId: z.string() }),
  "result.regular": z.object({ result: runResultSchema }),
  /** In place of `result.regular`, where the result has a pull request. */
  "result.pr": z.object({ result: runResultSchema, pullRequest: pullRequestSchema }),
  ...setupEventSchemas,
  ...attemptEventSchemas,
  ...planEventSchemas,
  ...checksEventSchemas,
  ...rebaseEventSchemas,
  ...replayEventSchemas,
  ...budgetEventSchemas,
  ...approvalEventSchemas,
  ...publishingEventSchemas,
  ...workspaceEventSchemas,
} as const;

export type EventType = keyof typeof eventDataSchemas;
export const EVENT_TYPES = Object.keys(eventDataSchemas) as EventType[];
export type EventData<T extends EventType> = z.infer<(typeof eventDataSchemas)[T]>;

/** An event before it has its place in a log. */
export type NewEvent = { [T in EventType]: { readonly type: T; readonly data: EventData<T> } }[EventType];

/** An event's place: `seq` starts at 1 and has no gaps, `id` is `<runId>:<seq>`. */
export interface EventPlace {
  readonly seq: number;
  readonly id: string;
  readonly runId: string;
  readonly turn: number;
  readonly attempt: number;
  /** ISO 8601, UTC. */
  readonly at: string;
}
/** One entry of a run's log, of a type that this version knows. */
export type RunEvent = { [T in EventType]: EventPlace & { readonly type: T; readonly data: EventData<T> } }[EventType];

/** The envelope alone: what every event has, also one of a type that this version does not know. */
export const eventEnvelopeSchema = z.object({
  seq: z.int().min(1),
  id: z.string(),
  runId: runIdSchema,
  turn: z.int().min(1),
  attempt: z.int().min(0),
  at: z.iso.datetime(),
  type: z.string(),
  data: z.record(z.string(), z.unknown()),
});

/** The event, or undefined for a type (or a shape) that this version does not know: skip those. */
export function parseEvent(value: unknown): RunEvent | undefined {
  const envelope = eventEnvelopeSchema.safeParse(value);
  if (!envelope.success) return undefined;
  const schema = (eventDataSchemas as Record<string, z.ZodType | undefined>)[envelope.data.type];
  const data = schema?.safeParse(envelope.data.data);
  return data?.success ? ({ ...envelope.data, data: data.data } as RunEvent) : undefined;
}

/** The events that end a turn; each turn has exactly one. */
export const TERMINAL_EVENT_TYPES = ["run.completed", "run.failed", "run.cancelled", "run.timeout"] as const satisfies readonly EventType[];

export function isTerminalEventType(type: string): boolean {
  return (TERMINAL_EVENT_TYPES as readonly string[]).includes(type);
}

import type { RunError, RunErrorType } from "@runyard/sdk/contract";

/** The last model call that failed; `status` is null where no answer came at all. */
interface ModelCallError {
  readonly status: number | null;
  readonly message: string;
}

/** What is known about a turn once it is over, from the agent, the gateway and the sandbox. */
export interface TurnFacts {
  /** ACP's word for why the turn ended; null when the agent never ended it, or answered with an error. */
  readonly stopReason: string | null;
  /** The agent's own words for an error that ended the turn. */
  readonly error: string | null;
  /** The agent sent message text, tool calls or usage. */
  readonly sawOutput: boolean;
  /** The turn was to make a plan, and one was handed in: some agents call such a turn cancelled, because nobody takes the plan at once. */
  readonly handedIn: boolean;
  /** Model calls of this turn; null when the agent does not go through the gateway. */
  readonly gateway: { readonly calls: number; readonly failed: number; readonly lastError: ModelCallError | null } | null;
  /** What renews the login that the agent calls with; null: it calls with the gateway's keys. */
  readonly renewLogin: string | null;
  /** How the agent's process ended; null while it lives. `code` is null when nobody knows it. */
  readonly exit: { readonly code: number | null } | null;
  /** How long it was waited for, where it was ended because it had opened no session; else null. */
  readonly overdueMs: number | null;
  /** Processes of this sandbox that the kernel killed for want of memory. */
  readonly oomKills: number;
  /** The end of what the agent wrote to stderr. */
  readonly stderrTail: string;
}

export type TurnVerdict = { readonly ok: true } | { readonly ok: false; readonly error: RunError };

/**
 * Decides whether a turn succeeded. It did only with `end_turn` and with output of a model, and never
 * when all its model calls failed: some agents print the provider's 401 and end their turn in peace.
 */
export function judgeTurn(facts: TurnFacts): TurnVerdict {
  if (facts.error !== null) return fail(agentErrorReason(facts, facts.error));
  if (facts.stopReason === null) return fail(brokenOffReason(facts));
  if (facts.stopReason !== "end_turn" && !(facts.handedIn && facts.stopReason === "cancelled"))
    return fail(stopReasonError(facts.stopReason));
  const cause = causeOfTotalFailure(facts);
  if (cause) return fail(cause);
  if (!facts.sawOutput && !modelAnswered(facts.gateway)) {
    return fail(
      error("agent-error", "The agent ended its turn without any output and without using a model. Look at its log for the reason."),
    );
  }
  return { ok: true };
}

function fail(reason: RunError): TurnVerdict {
  return { ok: false, error: reason };
}

function error(type: RunErrorType, message: string): RunError {
  return { type, message };
}

function modelAnswered(gateway: TurnFacts["gateway"]): boolean {
  return gateway !== null && gateway.calls > gateway.failed;
}

/** The provider's fault, when calls were made and none succeeded. */
function causeOfTotalFailure({ gateway, renewLogin }: TurnFacts): RunError | null {
  return gateway === null || gateway.calls === 0 || modelAnswered(gateway) ? null : providerError(gateway.lastError, renewLogin);
}

/** The agent said that it failed. Where a model call failed too, that is the cause, and decides whether a retry can help. */
function agentErrorReason(facts: TurnFacts, words: string): RunError {
  if (facts.oomKills > 0) return outOfMemory();
  const lastError = facts.gateway?.lastError ?? null;
  const cause = lastError ? providerError(lastError, facts.renewLogin) : causeOfTotalFailure(facts);
  return cause
    ? error(cause.type, `${cause.message} The agent said: ${shorten(words)}`)
    : error("agent-error", `The agent failed: ${shorten(words)}`);
}

/** The conversation broke off: no stop reason, no error, the process is gone or silent. */
function brokenOffReason(facts: TurnFacts): RunError {
  if (facts.oomKills > 0) return outOfMemory();
  const said = lastWords(facts.stderrTail);
  if (NO_SPACE.test(facts.stderrTail)) return error("disk-full", `The agent's disk is full.${said}`);
  if (facts.overdueMs !== null) return error("agent-error", `${overdue(facts.overdueMs)}${said}`);
  const code = facts.exit?.code ?? null;
  const neverBegan = startFailure(code, facts.stderrTail);
  if (neverBegan !== null) return error("agent-error", `${neverBegan}${said}`);
  const end =
    facts.exit === null
      ? "stopped in the middle of its turn without a word"
      : `${code === null ? "ended" : `exited with code ${code}`} before its turn was over`;
  const cause = causeOfTotalFailure(facts);
  return error(cause?.type ?? "agent-error", `${cause ? `${cause.message} ` : ""}The agent ${end}.${said}`);
}

function startFailure(code: number | null, stderrTail: string): string | null {
  if (code === 127 || (code !== null && PROGRAM_MISSING.test(stderrTail))) return `The agent's program was not found. ${WHAT_IS_SEEN}`;
  return code === 126 ? "The agent's program could not be started: it is not executable." : null;
}

const NO_SPACE = /ENOSPC|No space left on device/;
/** What bwrap says, and then it exits with 1 instead of 127. */
const PROGRAM_MISSING = /bwrap: execvp .*: No such file or directory/;

const WHAT_IS_SEEN =
  "A sandbox shows an agent its workspace, the system's directories (/usr, /bin, /lib) and Node, and nothing else of the machine: put the program into the repository, or install it below /usr.";

function outOfMemory(): RunError {
  return error(
    "out-of-memory",
    "The sandbox ran out of memory and the kernel ended the agent. Give the run more with --sandbox-type high-memory (settings.sandboxType) or a smaller task, or keep what it starts (tests, builds) from using so much at once.",
  );
}

const STOP_REASONS: ReadonlyMap<string, string> = new Map([
  ["refusal", "The model refused to go on with this task. Word the task differently, or use another model."],
  [
    "max_tokens",
    "The model reached its limit of output tokens before the task was done. Split the task, or use a model with a higher limit.",
  ],
  ["max_turn_requests", "The agent reached its own limit of model calls in one turn before the task was done. Split the task."],
  ["cancelled", "The agent cancelled its turn by itself."],
]);

function stopReasonError(stopReason: string): RunError {
  return error(
    "agent-error",
    STOP_REASONS.get(stopReason) ?? `The agent ended its turn for a reason that Runyard does not know: ${shorten(stopReason)}.`,
  );
}

function overdue(waitedMs: number): string {
  return `The agent opened no session within ${waitedMs / 1000} s of its start, and was ended. Does its command speak the Agent Client Protocol? One that only needs longer gets it by RUNYARD_AGENT_START_TIMEOUT, in the environment of runyard up.`;
}

/** Says what the provider's answer means; the type tells whether trying again can help. */
function providerError(lastError: ModelCallError | null, renewLogin: string | null): RunError {
  if (lastError === null) return error("network-error", "Every model call failed, and no reason was recorded.");
  const { status, message } = lastError;
  const words = message.trim() === "" ? "it gave no reason." : sentence(shorten(message));
  if (status === null) return error("network-error", `The model provider could not be reached: ${words}`);
  // It said yes and then sent something else, or broke off.
  if (status < 300) return error("network-error", `The model provider's answer could not be used: ${words}`);
  const answered = `The model provider answered ${status}`;
  if ((status === 401 || status === 403) && renewLogin !== null)
    return error(
      "agent-error",
      `${answered}: it did not accept the agent's own login. It said: ${words} The login may have expired: renew it on the server's machine (${renewLogin}), and start the run again or continue it.`,
    );
  if (status === 401 || status === 403)
    return error(
      "agent-error",
      `${answered}: it did not accept the API key. It said: ${words} Check the key and the base URL that Runyard uses for this model.`,
    );
  if (status === 404)
    return error(
      "agent-error",
      `${answered}: the model, or the address, was not found. It said: ${words} Check the model's name and the base URL: runyard models lists what there is.`,
    );
  if (status === 429) return error("rate-limit", `${answered}: too many requests, or the quota is used up. It said: ${words}`);
  if (status === 408 || status >= 500) return error("network-error", `${answered}: ${words}`);
  return error("agent-error", `${answered}: it refused the request. It said: ${words}`);
}

const MAX_QUOTED_CHARS = 500;

function shorten(text: string): string {
  const plain = text.trim();
  return plain.length <= MAX_QUOTED_CHARS ? plain : `${plain.slice(0, MAX_QUOTED_CHARS)} …`;
}

function sentence(text: string): string {
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

/** The end of stderr, where there is any: that is where programs say why they go. */
function lastWords(stderrTail: string): string {
  const plain = stderrTail.trim();
  return plain === "" ? "" : ` Its last words were: ${plain.length <= MAX_QUOTED_CHARS ? plain : `… ${plain.slice(-MAX_QUOTED_CHARS)}`}`;
}

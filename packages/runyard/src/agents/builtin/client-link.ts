import { methods, type AgentContext, type PermissionOption, type SessionUpdate, type ToolCallUpdate } from "@agentclientprotocol/sdk";

/** What a turn may say to, and ask of, the client of its session. */
export interface ClientLink {
  update(update: SessionUpdate): void;
  /** Whether the call may be carried out, and the client's words where it may not and the client gives any. */
  requestPermission(
    toolCall: ToolCallUpdate,
    signal: AbortSignal,
  ): Promise<{ readonly isAllowed: boolean; readonly reason: string | null }>;
  /** The person's answer; null when they gave none; undefined when the client cannot ask. */
  askPerson(question: { toolCallId: string; text: string }, signal: AbortSignal): Promise<string | null | undefined>;
}

const PERMISSION_OPTIONS: PermissionOption[] = [
  { optionId: "allow", name: "Allow", kind: "allow_once" },
  { optionId: "reject", name: "Reject", kind: "reject_once" },
];

export function clientLink(client: AgentContext, session: { sessionId: string; canAsk: boolean }): ClientLink {
  const { sessionId, canAsk } = session;
  return {
    update(update) {
      // Updates keep their order in the connection's queue; they fail only when the connection is gone, and the agent ends then.
      void client.notify(methods.client.session.update, { sessionId, update }).catch(() => undefined);
    },
    async requestPermission(toolCall, signal) {
      const answer = client.request(methods.client.session.requestPermission, { sessionId, toolCall, options: PERMISSION_OPTIONS });
      const { outcome, _meta } = await unlessAborted(answer, signal);
      const reason = _meta?.["runyard/reason"];
      return {
        isAllowed: outcome.outcome === "selected" && outcome.optionId === "allow",
        reason: typeof reason === "string" && reason !== "" ? reason : null,
      };
    },
    async askPerson(question, signal) {
      if (!canAsk) return undefined;
      const answer = client.request(methods.client.elicitation.create, {
        sessionId,
        toolCallId: question.toolCallId,
        mode: "form",
        message: question.text,
        requestedSchema: { type: "object", properties: { answer: { type: "string", title: "Answer" } }, required: ["answer"] },
      });
      return answerText(await unlessAborted(answer, signal));
    },
  };
}

function answerText(response: { action: string; content?: unknown }): string | null {
  const { content } = response;
  if (response.action !== "accept" || typeof content !== "object" || content === null || !("answer" in content)) return null;
  return typeof content.answer === "string" && content.answer.trim() !== "" ? content.answer : null;
}

/** Does not wait on for an answer that nobody needs any more; one that comes late is dropped. */
async function unlessAborted<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([answer, aborted]);
  } finally {
    if (stop !== undefined) signal.removeEventListener("abort", stop);
    answer.catch(() => undefined);
  }
}

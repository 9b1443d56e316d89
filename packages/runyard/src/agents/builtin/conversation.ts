import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import path from "node:path";
import type { ModelMessage } from "ai";

/** One session's talk with the model. */
export interface Conversation {
  readonly sessionId: string;
  readonly messages: ModelMessage[];
}

/** Where conversations are kept: one file for each, in the agent's home. */
export interface ConversationStore {
  save(conversation: Conversation): Promise<void>;
  /** Undefined when there is none of that name. */
  load(sessionId: string): Promise<Conversation | undefined>;
}

const SESSION_ID = /^[0-9a-f-]{36}$/;

export function conversationStore(home: string): ConversationStore {
  const directory = path.join(home, ".runyard-agent");
  return {
    async save({ sessionId, messages }) {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const file = path.join(directory, `${sessionId}.json`);
      await writeFile(`${file}.new`, JSON.stringify({ version: 1, sessionId, messages }), { mode: 0o600 });
      await rename(`${file}.new`, file);
    },
    async load(sessionId) {
      if (!SESSION_ID.test(sessionId)) return undefined;
      const text = await readFile(path.join(directory, `${sessionId}.json`), "utf8").catch(() => undefined);
      if (text === undefined) return undefined;
      const stored = JSON.parse(text) as { version: number; messages: ModelMessage[] };
      return stored.version === 1 ? { sessionId, messages: stored.messages } : undefined;
    },
  };
}

import { randomBytes } from "node:crypto";
import type { Subscription } from "../store/database/listen.ts";
import type { Notifier } from "../store/notify.ts";
import { createWakes, type Wakes } from "./wakes.ts";

/** The channel on which the processes of a database wake each other. */
export const WAKE_CHANNEL = "runyard_wake";

/** Wake-ups of so many milliseconds go out as one: it spares the database, and nobody sees the difference. */
const GATHER_MS = 30;
/** PostgreSQL takes less than 8,000 bytes. */
const MAX_PAYLOAD_BYTES = 7_000;
/** More messages than this at once say less than "look at everything". */
const MAX_MESSAGES = 8;
/** Where messages could not go out: when to try again, in milliseconds. */
const RETRY_MS = 1_000;
/** In the place of topics: everybody is to look. */
const EVERYTHING = "*";

export interface RelayOptions {
  readonly notifier: Notifier;
  /** Starts to listen; null where messages may have been missed. */
  readonly listen: (onMessage: (payload: string | null) => void) => Promise<Subscription>;
}

export interface WakeRelay {
  readonly wakes: Wakes;
  close(): Promise<void>;
}

/**
 * Wake-ups that reach the other processes of the database too: those of this process at once, those of others
 * a moment later. Where they cannot, everybody still looks from time to time.
 */
export async function relayWakes(options: RelayOptions): Promise<WakeRelay> {
  const own = createWakes();
  const sender = randomBytes(6).toString("hex");
  let gathered = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let sending: Promise<void> = Promise.resolve();
  let closed = false;

  const send = (): void => {
    timer = undefined;
    const topics = gathered;
    gathered = new Set();
    sending = sending.then(() =>
      options.notifier.send(messagesOf(sender, topics)).catch(() => {
        // Whoever was not told looks by itself later; that all are to look is told as soon as anything can be.
        gathered.add(EVERYTHING);
        if (!closed) timer ??= setTimeout(send, RETRY_MS).unref();
      }),
    );
  };
  const subscription = await options.listen((payload) => {
    if (payload === null) return own.notifyAll();
    const [from, ...topics] = payload.split(" ");
    if (from === sender) return;
    for (const topic of topics) {
      if (topic === EVERYTHING) own.notifyAll();
      else own.notify(topic);
    }
  });

  return {
    wakes: {
      ...own,
      notify(topic) {
        own.notify(topic);
        if (closed) return;
        gathered.add(topic);
        timer ??= setTimeout(send, GATHER_MS).unref();
      },
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      if (gathered.size > 0) send();
      await sending;
      await Promise.all([subscription.close(), options.notifier.close()]);
    },
  };
}

/** Topics as messages that PostgreSQL takes, or one that stands for all. */
export function messagesOf(sender: string, topics: ReadonlySet<string>): string[] {
  const all = [`${sender} ${EVERYTHING}`];
  if (topics.has(EVERYTHING)) return all;
  const messages: string[] = [];
  let message = sender;
  for (const topic of topics) {
    if (Buffer.byteLength(topic) > MAX_PAYLOAD_BYTES / 2 || /\s/.test(topic)) return all;
    if (Buffer.byteLength(message) + 1 + Buffer.byteLength(topic) > MAX_PAYLOAD_BYTES) {
      messages.push(message);
      message = sender;
    }
    message += ` ${topic}`;
  }
  messages.push(message);
  return messages.length > MAX_MESSAGES ? all : messages;
}

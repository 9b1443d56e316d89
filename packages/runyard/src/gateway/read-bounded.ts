import type { IncomingMessage } from "node:http";

/** For answers that call no model: lists and counts. */
const MAX_BYTES = 16 * 1024 * 1024;

/** The whole of an answer; throws an Error with a plain sentence for a redirect, for what is compressed, and for more than 16 MiB. */
export async function readBounded(answer: IncomingMessage): Promise<Buffer> {
  const status = answer.statusCode ?? 0;
  const encoding = answer.headers["content-encoding"] ?? "identity";
  const isRedirect = status >= 300 && status < 400;
  if (isRedirect || encoding !== "identity") answer.destroy();
  if (isRedirect) throw new Error(`The model provider answered with a redirect (${status}), which Runyard does not follow.`);
  if (encoding !== "identity")
    throw new Error(`The model provider's answer is compressed (${encoding}), although it was asked not to compress.`);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer) {
    size += (chunk as Buffer).length;
    if (size > MAX_BYTES) throw new Error(`The model provider's answer is longer than ${MAX_BYTES} bytes.`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

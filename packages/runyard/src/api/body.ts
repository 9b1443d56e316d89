import { RunyardError } from "@runyard/sdk/contract";

/** Longest body that is read, in bytes. */
export const MAX_BODY_BYTES = 2 * 1024 * 1024;

/** A request's body as JSON. Refuses other types (415), longer bodies (413) and what is no JSON (400). */
export async function readJson(request: Request): Promise<unknown> {
  requireJson(request.headers);
  const bytes = await readBounded(request);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown;
  } catch (cause) {
    throw new RunyardError("invalid_json", bytes.byteLength === 0 ? "The body is empty." : "The body is not valid JSON in UTF-8.", {
      cause,
    });
  }
}

function requireJson(headers: Headers): void {
  if (!/^application\/json\s*(;|$)/i.test(headers.get("content-type") ?? "")) {
    throw new RunyardError("unsupported_media_type", "Send the body with Content-Type: application/json.");
  }
  if (!/^(identity)?$/i.test(headers.get("content-encoding") ?? "")) {
    throw new RunyardError("unsupported_media_type", "Send the body without compression.");
  }
}

/** The announced length is a first look only: what counts is what arrives. */
async function readBounded(request: Request): Promise<Uint8Array> {
  if (Number(request.headers.get("content-length") ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of piecesOf(request)) {
    size += chunk.byteLength;
    if (size > MAX_BODY_BYTES) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

async function* piecesOf(request: Request): AsyncGenerator<Uint8Array> {
  const reader = request.body?.getReader();
  if (reader === undefined) return;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause: unknown) => {
        throw new RunyardError("invalid_json", "The body ended before it was complete.", { cause });
      });
      if (done) return;
      yield value as Uint8Array;
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

function tooLarge(): RunyardError {
  return new RunyardError("payload_too_large", `The body is longer than ${MAX_BODY_BYTES} bytes.`);
}

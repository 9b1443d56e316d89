import { RunyardError } from "@runyard/sdk/contract";

/** Longest body that is read, in bytes. */
export const MAX_BODY_BYTES = 2 * 1024 * 1024;

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** A request's body as JSON. Refuses other types (415), longer bodies (413) and what is no JSON (400). */
export async function readJson(request: Request): Promise<unknown> {
  requireJson(request.headers);
  const bytes = await readBounded(request);
  try {
    return JSON.parse(UTF8.decode(bytes)) as unknown;
  } catch (cause) {
    throw new RunyardError("invalid_json", bytes.byteLength === 0 ? "The body is empty." : "The body is not valid JSON in UTF-8.", {
      cause,
    });
  }
}

/** The same, where a request that says nothing needs no body: `{}` then. */
export async function readJsonOrNothing(request: Request): Promise<unknown> {
  const hasBody = request.body !== null && request.headers.get("content-length") !== "0";
  return hasBody ? readJson(request) : {};
}

function requireJson(headers: Headers): void {
  if (!/^application\/json\s*(;|$)/i.test(headers.get("content-type") ?? "")) {
    throw new RunyardError("unsupported_media_type", "Send the body with Content-Type: application/json.");
  }
  if (!/^(identity)?$/i.test(headers.get("content-encoding") ?? "")) {
    throw new RunyardError("unsupported_media_type", "Send the body without compression.");
  }
}

async function readBounded(request: Request): Promise<Uint8Array> {
  const length = request.headers.get("content-length");
  if (Number(length ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  // HTTP holds a body to its announced length; one without is counted as it comes, which costs more.
  if (length !== null && !request.headers.has("transfer-encoding")) {
    return new Uint8Array(await request.arrayBuffer().catch(endedEarly));
  }
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
      const { done, value } = await reader.read().catch(endedEarly);
      if (done) return;
      yield value;
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

function endedEarly(cause: unknown): never {
  throw new RunyardError("invalid_json", "The body ended before it was complete.", { cause });
}

function tooLarge(): RunyardError {
  return new RunyardError("payload_too_large", `The body is longer than ${MAX_BODY_BYTES} bytes.`);
}

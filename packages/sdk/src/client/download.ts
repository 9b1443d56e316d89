import { connectionError } from "./connection.ts";
import { RunyardApiError } from "./errors.ts";
import type { ApiRequest, Transport } from "./transport.ts";
import { startDeadline } from "./wait.ts";

export interface DownloadOptions {
  /** Ends it; the loop then throws the signal's reason. */
  readonly signal?: AbortSignal;
}

/** For how long nothing may come: a large folder is looked through before its first byte. */
const SILENCE_MS = 120_000;

/** An answer's body as it comes, for as long as something comes. */
export async function* download(
  transport: Transport,
  request: ApiRequest,
  { signal }: DownloadOptions = {},
): AsyncGenerator<Uint8Array, void> {
  const deadline = startDeadline(SILENCE_MS, signal);
  try {
    const reader = (await transport.open(request, deadline)).body?.getReader();
    for (;;) {
      deadline.touch();
      const piece = await reader?.read();
      if (piece?.value === undefined) return;
      // The time that the caller takes is not silence of the server.
      deadline.hold();
      yield piece.value;
    }
  } catch (error) {
    if (RunyardApiError.is(error) || signal?.aborted) throw error;
    throw connectionError(transport.config.baseUrl, error, deadline.expired() ? SILENCE_MS : undefined);
  } finally {
    deadline.end();
  }
}

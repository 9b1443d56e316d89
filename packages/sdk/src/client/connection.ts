import { RunyardConnectionError } from "./errors.ts";

/**
 * What a failed fetch means, in words for the person who waits for it.
 * @param url the base URL
 * @param timeoutMs the time that ran out, or undefined when it did not
 */
export function connectionError(url: string, cause: unknown, timeoutMs?: number): RunyardConnectionError {
  const { origin } = new URL(url);
  const { sentence, serverRuns } = timeoutMs === undefined ? explain(codeOf(cause)) : timedOut(timeoutMs);
  return new RunyardConnectionError(`Cannot reach Runyard at ${origin}: ${sentence}`, { url: origin, serverRuns, cause });
}

interface Explanation {
  readonly sentence: string;
  readonly serverRuns: boolean | null;
}

const EXPLANATIONS: readonly { readonly codes: RegExp; readonly sentence: string; readonly serverRuns: boolean | null }[] = [
  {
    codes: /^ECONNREFUSED$/,
    sentence: "nothing listens there. Start the server with `runyard up`, or check the address.",
    serverRuns: false,
  },
  { codes: /^(ENOTFOUND|EAI_AGAIN)$/, sentence: "this host name is not known. Check the address.", serverRuns: false },
  {
    codes: /^(EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT)$/,
    sentence: "the machine does not answer. Check the address and the network.",
    serverRuns: false,
  },
  {
    codes: /^(ECONNRESET|EPIPE|UND_ERR_SOCKET|UND_ERR_BODY_TIMEOUT|UND_ERR_HEADERS_TIMEOUT)$/,
    sentence: "something listens there, but the connection broke before the answer was complete. The server may be starting or stopping.",
    serverRuns: true,
  },
  {
    codes: /^(HPE_|UND_ERR_|ERR_SSL_|EPROTO$)/,
    sentence: "what listens there does not speak as expected. Check the port, and http against https.",
    serverRuns: true,
  },
  { codes: /CERT|SELF_SIGNED|UNABLE_TO_/, sentence: "its TLS certificate is not trusted here.", serverRuns: true },
];

function explain(code: string | undefined): Explanation {
  const known = code === undefined ? undefined : EXPLANATIONS.find(({ codes }) => codes.test(code));
  return known ?? { sentence: "no answer came. Check that the server runs, and that this page's origin belongs to it.", serverRuns: null };
}

function timedOut(timeoutMs: number): Explanation {
  return { sentence: `no answer came within ${timeoutMs / 1_000} s.`, serverRuns: null };
}

/** Node says why in the cause of fetch's error; for a name with several addresses in the errors of that. Browsers do not say. */
function codeOf(error: unknown): string | undefined {
  for (let at = error, depth = 0; typeof at === "object" && at !== null && depth < 5; depth += 1) {
    const { code, name, cause, errors } = at as { code?: unknown; name?: unknown; cause?: unknown; errors?: readonly unknown[] };
    if (typeof code === "string") return code;
    // Node 24 gives this one no code.
    if (name === "HTTPParserError") return "HPE_";
    at = cause ?? errors?.[0];
  }
  return undefined;
}

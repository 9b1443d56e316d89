import { egressPatternOf, headerWith, targetOf } from "../core/header-secrets.ts";
import { egressPatterns } from "../core/egress.ts";
import type { Gateway, RunToRegister } from "../gateway/client.ts";
import type { Mount } from "../sandbox/driver.ts";
import type { RunRow } from "../store/run-row.ts";
import type { RunnerContext } from "./context.ts";
import { RunFailure } from "./run-handle.ts";
import type { RunSecrets } from "./run-secrets.ts";

/** Hosts and presets that programs of a run may reach: what it was allowed, and where its secrets go. */
export function egressOf({ spec }: RunRow, { headers }: Pick<RunSecrets, "headers">): readonly string[] {
  return [...new Set([...(spec.egress ?? []), ...headers.map(({ place }) => place.host)])];
}

/** What the gateway is told of where a run's programs may go, and with what. A replay does what was done before, without anybody outside. */
export function gatewayEgress(
  ctx: RunnerContext,
  row: RunRow,
  { headers }: RunSecrets,
): Pick<RunToRegister, "egress" | "egressNetworks" | "injected"> {
  if (row.replay !== null) return { egress: [], egressNetworks: [] };
  const egress = [...egressPatterns(row.spec.egress ?? []), ...headers.map(({ place }) => egressPatternOf(place))];
  const egressNetworks = [...ctx.egressNetworks];
  if (headers.length === 0) return { egress, egressNetworks };
  const { certificate, key, trusted } = authorityOf(ctx);
  const injected = {
    headers: headers.map(({ name, value, place }) => ({ secret: name, value, ...targetOf(place), ...headerWith(place, value) })),
    authority: { certificate, key },
    trusted,
  };
  return { egress, egressNetworks, injected };
}

const BUNDLE_INSIDE = "/run/runyard/ca-bundle.pem";
/** By which programs find whom they trust: OpenSSL and what uses it, Node.js, curl, Python, git, pip, cargo, the tools of AWS, Deno. */
const BUNDLE_VARIABLES = [
  "SSL_CERT_FILE",
  "NODE_EXTRA_CA_CERTS",
  "CURL_CA_BUNDLE",
  "REQUESTS_CA_BUNDLE",
  "GIT_SSL_CAINFO",
  "PIP_CERT",
  "CARGO_HTTP_CAINFO",
  "AWS_CA_BUNDLE",
  "DENO_CERT",
];

/** By what programs in a run's sandbox trust the gateway in the place of the hosts whose requests get a header; nothing where there are none. */
export function trustInside(
  ctx: RunnerContext,
  { headers }: Pick<RunSecrets, "headers">,
): { readonly env: Readonly<Record<string, string>>; readonly mounts: readonly Mount[] } {
  if (headers.length === 0) return { env: {}, mounts: [] };
  return {
    env: Object.fromEntries(BUNDLE_VARIABLES.map((name) => [name, BUNDLE_INSIDE])),
    mounts: [{ source: authorityOf(ctx).bundleFile, target: BUNDLE_INSIDE, mode: "ro" }],
  };
}

function authorityOf(ctx: RunnerContext): ReturnType<Gateway["authority"]> {
  try {
    return ctx.gateway.authority();
  } catch (error) {
    throw new RunFailure({ type: "sandbox-unavailable", message: `No header can be put into requests: ${(error as Error).message}` });
  }
}

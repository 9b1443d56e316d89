import type { HeaderPlace } from "../core/header-secrets.ts";
import { createRedactor, type Redactor } from "../redact.ts";
import type { RunRow } from "../store/run-row.ts";
import type { GivenSecret } from "../store/secrets.ts";

/** A secret that goes into a header. */
export type HeaderSecret = GivenSecret & { readonly place: HeaderPlace };

/** What a run was given as secrets, in the hands of its runner. */
export interface RunSecrets {
  /** Every value that the run was ever given: an agent, or a file that it wrote, may still tell an older one. */
  readonly given: readonly GivenSecret[];
  /** Variables and values, as they are now. */
  readonly environment: Readonly<Record<string, string>>;
  /** Those that the gateway puts into headers, as they are now: nothing of them is in the sandbox. */
  readonly headers: readonly HeaderSecret[];
  /** Takes all of these values out of whatever leaves the sandbox. */
  readonly redactor: Redactor;
  /** Reads what the run was given before; nothing of it may be told before that. Throws RunFailure where it cannot be read. */
  load(): Promise<void>;
  /** Gives an attempt the values as they are stored now. Throws RunFailure where one is not there, and FencedError. */
  give(row: RunRow): Promise<void>;
}

/** Of a run that has none. */
export const NO_SECRETS: RunSecrets = {
  given: [],
  environment: {},
  headers: [],
  redactor: createRedactor([]),
  load: () => Promise.resolve(),
  give: () => Promise.resolve(),
};

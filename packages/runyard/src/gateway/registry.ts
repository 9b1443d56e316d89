import { createHash, timingSafeEqual } from "node:crypto";
import type { ExpectedTokens } from "./expected-tokens.ts";
import type { GatewayState, Provider, RegisteredRun } from "./protocol.ts";

/** What this gateway was told: the providers and the runs that may call. In memory only. */
export interface Registry {
  setProviders(providers: readonly Provider[]): void;
  providers(): readonly Provider[];
  openRun(run: RegisteredRun): void;
  /** False when there is no such run. Breaks off what the run has under way. */
  closeRun(runId: string): boolean;
  /** The run that this token belongs to; the time that it takes says nothing about how right a token is. */
  findByToken(token: string): LiveRun | null;
  /** The token belongs to a run of which the server has not told this process yet: it will. */
  isExpected(token: string): boolean;
  runIds(): string[];
  state(): GatewayState;
  /** Takes over what another process was told, where this one was told nothing about it. */
  inherit(state: GatewayState): void;
}

export interface LiveRun extends RegisteredRun {
  /** Aborted when the run is closed. */
  readonly closed: AbortSignal;
}

interface Entry {
  readonly run: RegisteredRun;
  readonly digest: Buffer;
  readonly abort: AbortController;
}

export function createRegistry(expected: ExpectedTokens): Registry {
  let providers: readonly Provider[] = [];
  let wasTold = false;
  const entries = new Map<string, Entry>();

  const registry: Registry = {
    setProviders(next) {
      providers = next;
      wasTold = true;
    },
    providers: () => providers,
    openRun(run) {
      const abort = entries.get(run.runId)?.abort ?? new AbortController();
      const digest = sha256(run.token);
      entries.set(run.runId, { run, digest, abort });
      expected.add(run.runId, digest);
    },
    closeRun(runId) {
      entries.get(runId)?.abort.abort();
      expected.remove(runId);
      return entries.delete(runId);
    },
    findByToken(token) {
      const digest = sha256(token);
      let found: Entry | null = null;
      for (const entry of entries.values()) if (timingSafeEqual(entry.digest, digest)) found = entry;
      return found === null ? null : { ...found.run, closed: found.abort.signal };
    },
    isExpected: (token) => expected.has(sha256(token)),
    runIds: () => [...entries.keys()],
    state: () => ({ providers: [...providers], runs: [...entries.values()].map((entry) => entry.run) }),
    inherit(state) {
      if (!wasTold) providers = state.providers;
      for (const run of state.runs) if (!entries.has(run.runId)) registry.openRun(run);
    },
  };
  return registry;
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

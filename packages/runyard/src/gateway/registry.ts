import { createHash, timingSafeEqual } from "node:crypto";
import type { ExpectedTokens } from "./expected-tokens.ts";
import { type GatewayState, MODEL_ALIAS, type Provider, type RegisteredRun } from "./protocol.ts";
import { Refusal } from "./refusal.ts";
import { SCRIPTED_MODEL } from "./scripted/model.ts";

/** What this gateway was told: the provider and the runs that may call. In memory only. */
export interface Registry {
  setProvider(provider: Provider | null): void;
  openRun(run: RegisteredRun): void;
  /** False when there is no such run. Breaks off what the run has under way. */
  closeRun(runId: string): boolean;
  /** The run that this token belongs to; the time that it takes says nothing about how right a token is. */
  findByToken(token: string): LiveRun | null;
  /** The token belongs to a run of which the server has not told this process yet: it will. */
  isExpected(token: string): boolean;
  /** Where this run's calls go; throws a Refusal when there is nowhere. */
  providerFor(run: RegisteredRun): Provider;
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
  let provider: Provider | null = null;
  let wasTold = false;
  const entries = new Map<string, Entry>();

  const registry: Registry = {
    setProvider(next) {
      provider = next;
      wasTold = true;
    },
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
    providerFor(run) {
      if (run.simulated) return { kind: "scripted" };
      // A real run never falls back to simulation.
      if (provider !== null && provider.kind !== "scripted") return provider;
      throw new Refusal(400, "no_model_configured", {
        message: "No model is connected to Runyard. Connect one in the server's settings and start the run again.",
      });
    },
    runIds: () => [...entries.keys()],
    state: () => ({ provider, runs: [...entries.values()].map((entry) => entry.run) }),
    inherit(state) {
      if (!wasTold) provider = state.provider;
      for (const run of state.runs) if (!entries.has(run.runId)) registry.openRun(run);
    },
  };
  return registry;
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** The name that the provider gets for the model that a client asked for; throws a Refusal when the alias stands for nothing. */
export function chooseModel(asked: string, run: RegisteredRun, provider: Provider): string {
  if (provider.kind === "scripted") return SCRIPTED_MODEL;
  if (asked !== MODEL_ALIAS) return asked;
  const model = run.model ?? provider.model;
  if (model !== null) return model;
  throw new Refusal(400, "model_not_found", {
    message: "No model is chosen: name one for the run, or a default one in the server's settings.",
  });
}

import type { ExchangeDetail, ExchangeList, ExchangeSide } from "../contract/recordings.ts";
import type { Run } from "../contract/run.ts";
import { asRun, checked } from "./answers.ts";
import { pathOf } from "./paths.ts";
import type { RequestOptions, Transport } from "./transport.ts";

const JSON_TYPE = "application/json";

/** What a run's agent asked models, and running it again on that, as `client.runs` has it. */
export interface RunRecordings {
  /**
   * The model calls of a run, in the order in which they began.
   *
   * @example
   * ```ts
   * for (const exchange of (await client.runs.exchanges(run.id)).data) console.log(exchange.number, exchange.model, exchange.status);
   * ```
   */
  exchanges(id: string, options?: RequestOptions): Promise<ExchangeList>;

  /** One model call with what was asked and answered; long bodies are cut: `exchangeBytes` has all of them. */
  exchange(id: string, exchangeId: string, options?: RequestOptions): Promise<ExchangeDetail>;

  /** What the agent sent or got, byte for byte, but for the secrets that were taken out. */
  exchangeBytes(id: string, exchangeId: string, side: ExchangeSide, options?: RequestOptions): Promise<Uint8Array>;

  /**
   * Runs again what a run did in its first turn: a new run with the same task and settings on the same commit, whose
   * agent is answered from the recording. No model is called. `replay` of the new run says what came of it. It is
   * not tried again after an error, because it may have begun.
   *
   * @example
   * ```ts
   * const { id } = await client.runs.replay(run.id);
   * const { replay } = await client.runs.waitForEnd(id);
   * console.log(replay?.divergence ?? "identical", replay?.sameResult);
   * ```
   */
  replay(id: string, options?: RequestOptions): Promise<Run>;
}

export function createRecordings(transport: Transport): RunRecordings {
  const get = (path: string, accept: string) => ({ method: "GET", path, accept, repeatable: true }) as const;
  return {
    exchanges: async (id, options) =>
      checked(await transport.json(get(pathOf("runExchanges", { id }), JSON_TYPE), options), { data: "array" }) as ExchangeList,
    exchange: async (id, xid, options) => {
      const answer = await transport.json(get(pathOf("runExchange", { id, xid }), JSON_TYPE), options);
      return checked(answer, { id: "string", request: "object", response: "object" }) as ExchangeDetail;
    },
    exchangeBytes: async (id, xid, side, options) => {
      const route = side === "request" ? "runExchangeRequest" : "runExchangeResponse";
      return transport.bytes(get(pathOf(route, { id, xid }), "application/octet-stream"), options);
    },
    replay: async (id, options) =>
      asRun(await transport.json({ method: "POST", path: pathOf("replayRun", { id }), accept: JSON_TYPE, repeatable: false }, options)),
  };
}

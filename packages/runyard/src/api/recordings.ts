import { exchangeIdSchema, type ExchangeSide, ROUTES, RunyardError } from "@runyard/sdk/contract";
import type { ApiContext, ApiHandler } from "./context.ts";
import type { ApiEngine } from "./engine.ts";
import { attachment } from "./send-bytes.ts";
import { runIdOf } from "./runs.ts";

type RecordingRoute = "runExchanges" | "runExchange" | "runExchangeRequest" | "runExchangeResponse" | "replayRun";

/** The routes that hand out what was recorded, and run it again. Its bytes are an agent's and a model's: a browser saves them and shows nothing of them. */
export function recordingHandlers(engine: ApiEngine): Record<RecordingRoute, ApiHandler> {
  const bytesOf =
    (side: ExchangeSide): ApiHandler =>
    async (c) => {
      const [runId, id] = [runIdOf(c), exchangeIdOf(c)];
      const bytes = await engine.exchangeBytes(c.var.principal, runId, { id, side });
      return c.body(bytes as Uint8Array<ArrayBuffer>, 200, {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": attachment(`${runId}-${id}.${side}`),
      });
    };
  return {
    runExchanges: async (c) => c.json(await engine.exchanges(c.var.principal, runIdOf(c))),
    runExchange: async (c) => c.json(await engine.exchange(c.var.principal, runIdOf(c), exchangeIdOf(c))),
    runExchangeRequest: bytesOf("request"),
    runExchangeResponse: bytesOf("response"),
    replayRun: async (c) => {
      const run = await engine.replayRun(c.var.principal, runIdOf(c));
      return c.json(run, 201, { Location: ROUTES.getRun.path.replace("{id}", run.id) });
    },
  };
}

/** The exchange of the path. One that cannot exist is not looked for. */
function exchangeIdOf(c: ApiContext): string {
  const id = c.req.param("xid") ?? "";
  if (!exchangeIdSchema.safeParse(id).success) throw new RunyardError("exchange_not_found", "No exchange has this id.");
  return id;
}

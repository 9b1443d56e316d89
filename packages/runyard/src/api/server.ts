import { type Readiness, RunyardError, type ServerHome } from "@runyard/sdk/contract";
import { accepts } from "hono/accepts";
import type { ApiHandler } from "./context.ts";
import type { ApiEngine } from "./engine.ts";

type ServerRoute = "home" | "livez" | "readyz" | "serverStatus" | "listModels";

const LINKS = { docs: "/docs", openapi: "/openapi.json", runs: "/v1/agent-runs", status: "/v1/status" } as const;

/** The routes that tell of the server itself. */
export function serverHandlers(engine: ApiEngine, version: string): Record<ServerRoute, ApiHandler> {
  return {
    home: (c) => {
      c.header("Vary", "Accept");
      const type = accepts(c, { header: "Accept", supports: ["application/json", "text/html"], default: "application/json" });
      if (type === "text/html") return c.redirect(LINKS.docs, 303);
      return c.json({ name: "runyard", version, links: LINKS } satisfies ServerHome);
    },
    livez: (c) => c.json({ status: "ok", name: "runyard", version }),
    readyz: async (c) => {
      const checks = await engine.readiness();
      const failed = checks.filter(({ state }) => state === "failed").map(({ reason }) => reason);
      if (failed.length > 0) throw new RunyardError("unavailable", `The server cannot take work. ${failed.join(" ")}`, { checks });
      return c.json({ status: "ok", checks: [...checks] } satisfies Readiness);
    },
    serverStatus: async (c) => c.json(await engine.status(c.var.principal)),
    listModels: async (c) => c.json(await engine.listModels()),
  };
}

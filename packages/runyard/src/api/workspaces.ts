import { openShellSchema, workspacePathSchema } from "@runyard/sdk/contract";
import { readJsonOrNothing } from "./body.ts";
import type { ApiHandler } from "./context.ts";
import type { ApiEngine } from "./engine.ts";
import { filePathOf } from "./results.ts";
import { runIdOf } from "./runs.ts";
import { sendBytes } from "./send-bytes.ts";
import { queryOf, validate } from "./validate.ts";

type WorkspaceRoute = "openShell" | "runWorkspace" | "workspaceFile" | "workspaceArchive";

/** The routes to a run's workspace as it is on the machine of its runner. Its bytes are an agent's: a browser saves them and shows nothing of them. */
export function workspaceHandlers(engine: ApiEngine): Record<WorkspaceRoute, ApiHandler> {
  return {
    openShell: async (c) => {
      const [id, wish] = [runIdOf(c), validate(openShellSchema, await readJsonOrNothing(c.req.raw))];
      return c.json(await engine.openShell(c.var.principal, id, wish), 201);
    },
    runWorkspace: async (c) => {
      const [id, { path }] = [runIdOf(c), validate(workspacePathSchema, queryOf(c.req.url))];
      return c.json(await engine.workspace(c.var.principal, id, path));
    },
    workspaceFile: async (c) => {
      const [id, path] = [runIdOf(c), filePathOf(c, "workspace")];
      const file = await engine.workspaceFile(c.var.principal, id, path);
      return sendBytes(c, file, { type: "application/octet-stream", name: lastName(path) });
    },
    workspaceArchive: async (c) => {
      const [id, { path }] = [runIdOf(c), validate(workspacePathSchema, queryOf(c.req.url))];
      const archive = await engine.workspaceArchive(c.var.principal, id, path);
      return sendBytes(c, archive, { type: "application/x-tar", name: `${path === "" ? id : lastName(path)}.tar` });
    },
  };
}

function lastName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

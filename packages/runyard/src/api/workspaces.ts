import { openShellSchema, workspacePathSchema } from "@runyard/sdk/contract";
import { Readable } from "node:stream";
import { readJsonOrNothing } from "./body.ts";
import type { ApiContext, ApiHandler } from "./context.ts";
import type { ApiEngine, WorkspaceBytes } from "./engine.ts";
import { attachment, filePathOf } from "./results.ts";
import { runIdOf } from "./runs.ts";
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

/** What breaks off shows as broken: its length is said before, or its last chunk never comes. */
async function sendBytes(
  c: ApiContext,
  { size, bytes }: WorkspaceBytes,
  { type, name }: { readonly type: string; readonly name: string },
): Promise<Response> {
  const headers = {
    "Content-Type": type,
    "Content-Disposition": attachment(name),
    ...(size !== null && { "Content-Length": String(size) }),
  };
  if (c.req.method === "HEAD") {
    await bytes.next();
    await bytes.return();
    return c.body(null, 200, headers);
  }
  // As a web stream it takes its first piece at once, and is given back what it holds where its reader goes away.
  return c.body(Readable.toWeb(Readable.from(bytes, { objectMode: false })) as ReadableStream<Uint8Array>, 200, headers);
}

import { changeQuerySchema } from "@runyard/sdk/contract";
import type { ApiContext, ApiHandler } from "./context.ts";
import type { ApiEngine } from "./engine.ts";
import { runIdOf } from "./runs.ts";
import { attachment, sendBytes } from "./send-bytes.ts";
import { invalid, queryOf, validate } from "./validate.ts";

type ResultRoute = "runPatch" | "runBundle" | "runFiles" | "runFile" | "runDiff" | "runUsage" | "runMetrics";

const MAX_PATH_CHARS = 4_096;
const PATCH_TYPE = "text/x-diff; charset=utf-8";
const BUNDLE_TYPE = "application/x-git-bundle";

/** The routes that hand out what a run made and used. Its bytes are an agent's: a browser saves them and shows nothing of them. */
export function resultHandlers(engine: ApiEngine): Record<ResultRoute, ApiHandler> {
  return {
    runPatch: async (c) => {
      const id = runIdOf(c);
      return sendBytes(c, await engine.patch(c.var.principal, id, repositoryOf(c)), { type: PATCH_TYPE, name: `${id}.patch` });
    },
    runBundle: async (c) => {
      const id = runIdOf(c);
      return sendBytes(c, await engine.bundle(c.var.principal, id, repositoryOf(c)), { type: BUNDLE_TYPE, name: `${id}.bundle` });
    },
    runFiles: async (c) => c.json(await engine.files(c.var.principal, runIdOf(c), repositoryOf(c))),
    runFile: async (c) => {
      const path = filePathOf(c);
      const bytes = await engine.file(c.var.principal, runIdOf(c), path, repositoryOf(c));
      const name = path.slice(path.lastIndexOf("/") + 1);
      return c.body(bytes as Uint8Array<ArrayBuffer>, 200, {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": attachment(name),
      });
    },
    runDiff: async (c) => c.json(await engine.diff(c.var.principal, runIdOf(c), repositoryOf(c))),
    runUsage: async (c) => c.json(await engine.usage(c.var.principal, runIdOf(c))),
    runMetrics: async (c) => c.json(await engine.metrics(c.var.principal, runIdOf(c))),
  };
}

/** The further repository that is asked about; undefined: the first one. */
function repositoryOf(c: ApiContext): string | undefined {
  return validate(changeQuerySchema, queryOf(c.req.url)).repository;
}

/** The file that the path names, as git names it: from the top, with slashes, and never a way up. */
export function filePathOf(c: ApiContext, below: "files" | "workspace" = "files"): string {
  const { pathname } = new URL(c.req.url);
  const raw = /^\/v1\/agent-runs\/[^/]*\/(files|workspace)\/(.*)$/s.exec(pathname);
  return checkedPath(raw?.[1] === below ? (raw[2] ?? "") : "");
}

function checkedPath(raw: string): string {
  const path = decoded(raw);
  const isPath = path !== null && path.length <= MAX_PATH_CHARS && !path.includes("\0") && path.split("/").every(isName);
  if (!isPath) {
    throw invalid([
      { path: "path", message: "must be a file's path from the top of the repository, percent-encoded, without . and .. in it" },
    ]);
  }
  return path;
}

function isName(part: string): boolean {
  return part !== "" && part !== "." && part !== "..";
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

import type { OpenedShell, OpenShellRequest, WorkspaceList } from "../contract/workspaces.ts";
import { checked } from "./answers.ts";
import { download, type DownloadOptions } from "./download.ts";
import { pathOf } from "./paths.ts";
import type { ApiRequest, RequestOptions, Transport } from "./transport.ts";

/** A run's workspace, as `client.runs` has it: while the run is at work, or as long as its workspace is kept. */
export interface RunWorkspaces {
  /**
   * What a folder of a run's workspace holds, tracked by git or not, as it is now.
   *
   * @param path from the top of the workspace, for example `dist`; default: the top
   */
  workspace(id: string, path?: string, options?: RequestOptions): Promise<WorkspaceList>;

  /**
   * A file of a run's workspace, piece by piece. It is not tried again after an error; a file that breaks off throws.
   *
   * @example
   * ```ts
   * for await (const piece of client.runs.workspaceFile(run.id, "dist/app.js")) process.stdout.write(piece);
   * ```
   */
  workspaceFile(id: string, path: string, options?: DownloadOptions): AsyncGenerator<Uint8Array, void>;

  /** A folder of a run's workspace as a tar archive, piece by piece; default: all of it. */
  workspaceArchive(id: string, path?: string, options?: DownloadOptions): AsyncGenerator<Uint8Array, void>;

  /**
   * Prepares a shell, or a command, in a run's sandbox and workspace. It is started on the server's machine and by its
   * user only: `runyard shell` does both. It is not tried again after an error.
   *
   * @example
   * ```ts
   * const { directory, driver } = await client.runs.openShell(run.id, { command: ["npm", "test"] });
   * ```
   */
  openShell(id: string, wish?: OpenShellRequest, options?: RequestOptions): Promise<OpenedShell>;
}

const JSON_TYPE = "application/json";

export function createWorkspaces(transport: Transport): RunWorkspaces {
  const folder = (path: string | undefined): Pick<ApiRequest, "query"> => (path === undefined ? {} : { query: { path } });
  const get = (path: string, accept: string) => ({ method: "GET", path, accept, repeatable: true }) as const;
  return {
    workspace: async (id, path, options) => {
      const request = { ...get(pathOf("runWorkspace", { id }), JSON_TYPE), ...folder(path) };
      return checked(await transport.json(request, options), { data: "array", truncated: "boolean" }) as WorkspaceList;
    },
    workspaceFile: (id, path, options) =>
      download(transport, get(pathOf("workspaceFile", { id, path }), "application/octet-stream"), options),
    workspaceArchive: (id, path, options) =>
      download(transport, { ...get(pathOf("workspaceArchive", { id }), "application/x-tar"), ...folder(path) }, options),
    openShell: async (id, wish = {}, options) => {
      const request = { method: "POST", path: pathOf("openShell", { id }), accept: JSON_TYPE, body: wish, repeatable: false } as const;
      return checked(await transport.json(request, options), { directory: "string", driver: "string", egress: "array" }) as OpenedShell;
    },
  };
}

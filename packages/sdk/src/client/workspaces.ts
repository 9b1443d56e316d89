import type { OpenedShell, OpenShellRequest } from "../contract/workspaces.ts";
import { checked } from "./answers.ts";
import { pathOf } from "./paths.ts";
import type { RequestOptions, Transport } from "./transport.ts";

/** A run's workspace, as `client.runs` has it. */
export interface RunWorkspaces {
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

export function createWorkspaces(transport: Transport): RunWorkspaces {
  return {
    openShell: async (id, wish = {}, options) => {
      const request = {
        method: "POST",
        path: pathOf("openShell", { id }),
        accept: "application/json",
        body: wish,
        repeatable: false,
      } as const;
      return checked(await transport.json(request, options), { directory: "string", driver: "string", egress: "array" }) as OpenedShell;
    },
  };
}

import type { NewEvent } from "@runyard/sdk/contract";
import { harmless } from "../git/commit-result.ts";
import { readLeftOut } from "../git/left-out.ts";
import { goOnWorkspaceArgv } from "../git/workspace.ts";

/** What a copy says from which something is missing. */
const COPY_INCOMPLETE = "the copy of the workspace for planning is not complete";

/** The words of a command that copies a workspace, and then does something with the copy; what cannot be read is left out, and that is said. */
export function copyWorkspaceArgv(options: { readonly from: string; readonly to: string; readonly next: readonly string[] }): string[] {
  const script = 'cp -a -- "$1/." "$2/" || echo "$3" >&2; shift 3; exec "$@"';
  return ["/bin/sh", "-c", script, "sh", options.from, options.to, COPY_INCOMPLETE, ...options.next];
}

/** Where nothing was committed yet, the agent finds its repository as it left it. */
export function goOnArgv(options: Omit<Parameters<typeof goOnWorkspaceArgv>[0], "commit"> & { readonly commit: string | null }): string[] {
  return options.commit === null ? ["/bin/sh", "-c", ":"] : goOnWorkspaceArgv({ ...options, commit: options.commit });
}

/** What the log is told of a workspace that was made or copied. */
export function workspaceNotices(said: { readonly stdout: string; readonly stderr: string }): readonly NewEvent[] {
  return [...copyNotice(said.stderr), ...leftOutNotices(said.stdout)];
}

function copyNotice(stderr: string): readonly NewEvent[] {
  if (!stderr.includes(COPY_INCOMPLETE)) return [];
  const message = `Some files of the workspace could not be copied for the planning; the plan is made without them. The first complaint: ${harmless(stderr.split("\n")[0] ?? "")}`;
  return [{ type: "notice", data: { level: "warning", code: "plan-copy-incomplete", message } }];
}

function leftOutNotices(output: string): readonly NewEvent[] {
  return readLeftOut(output).map(({ code, message }) => ({ type: "notice", data: { level: "warning", code, message } }));
}

/** What the program between the adapter and Codex must know; paths are as the agent sees them. */
export interface CodexDoorOptions {
  readonly codex: string;
  readonly workspace: string;
  readonly codexHome: string;
}

/**
 * A program that stands between the adapter and Codex, because four things cannot be configured:
 * - the adapter's modes either ask for next to nothing or need Codex's own sandbox, which does not work inside
 *   ours; Codex has a policy that asks before whatever could change something, but takes it only from its client;
 * - the adapter lets Codex trust every workspace: a repository's own configuration could then start programs
 *   and allow commands unasked;
 * - its refusal of a command also ends the turn, so that an agent could not look for another way;
 * - it asks a model of its own choice for a title, on a thread that is not to last: Codex is not told of those.
 *
 * Codex reads AGENTS.md only where it trusts, so the workspace's is shown to it as the user's.
 */
export function codexDoor({ codex, workspace, codexHome }: CodexDoorOptions): string {
  const words = { codex, instructions: `${workspace}/AGENTS.md`, shownAs: `${codexHome}/AGENTS.md` };
  return `#!/usr/bin/env node
import { spawn } from "node:child_process";
import { symlinkSync } from "node:fs";
import { createInterface } from "node:readline";

const { codex: program, instructions, shownAs } = ${JSON.stringify(words)};

function change(message) {
  const { method, params, result } = message;
  for (const project of Object.values(params?.config?.projects ?? {})) project.trust_level = "untrusted";
  if (method === "turn/start") Object.assign(params, { approvalPolicy: "untrusted", approvalsReviewer: "user" });
  if (method === undefined && result?.decision === "cancel") result.decision = "decline";
  return params?.ephemeral === true ? "" : JSON.stringify(message) + "\\n";
}

try {
  symlinkSync(instructions, shownAs);
} catch (error) {
  if (error.code !== "EEXIST") throw error;
}
const codex = spawn(program, process.argv.slice(2), { stdio: ["pipe", "inherit", "inherit"] });
codex.stdin.on("error", () => {});
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => codex.stdin.write(change(JSON.parse(line))));
lines.on("close", () => codex.stdin.end());
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => codex.kill(signal));
codex.on("error", (error) => {
  console.error(String(error));
  process.exit(127);
});
codex.on("exit", (code) => process.exit(code ?? 1));
`;
}

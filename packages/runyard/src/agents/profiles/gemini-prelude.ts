import type { ProfileContext } from "./profile.ts";

/** How long it has to put things away. */
const LEAVE_MS = 500;

/**
 * What Gemini CLI loads before itself, because three things cannot be configured:
 * - it trusts a folder as a whole or not at all, and trust is what AGENTS.md and MCP servers need: then a repository's
 *   own settings start programs (hooks, MCP servers) and allow calls unasked, so it does not get to see those files;
 * - it names the record of a conversation after its minute: when the conversation is taken up within that minute, an
 *   empty one takes the place of the record before that is read. So records from before get another name;
 * - it does not leave when nobody speaks to it any more, as long as an MCP server of its lives.
 */
export function geminiPrelude({ workspace, home }: Pick<ProfileContext, "workspace" | "home">): string {
  const hidden = [`${workspace}/.gemini/settings.json`, `${workspace}/.gemini/.env`];
  return `import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import path from "node:path";

const { hidden, records } = ${JSON.stringify({ hidden, records: `${home}/.gemini/tmp` })};
const { existsSync } = fs;

const list = (dir) => (existsSync(dir) ? fs.readdirSync(dir).map((name) => path.join(dir, name)) : []);
for (const file of list(records).flatMap((project) => list(path.join(project, "chats")))) {
  const kept = file.replace(/session-[^/]*-(\\w+\\.jsonl)$/, "session-kept-$1");
  // Of two records of one conversation, the later one is that empty one.
  if (kept !== file && existsSync(kept)) fs.rmSync(file);
  else fs.renameSync(file, kept);
}

fs.existsSync = (file) => !hidden.includes(file) && existsSync(file);
syncBuiltinESMExports();

process.stdin.once("end", () => setTimeout(() => process.exit(), ${LEAVE_MS}).unref());
`;
}

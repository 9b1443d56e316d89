import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const AGENTS = ["agent.sh", "agent.mjs", "chatty.mjs"] as const;
const PROGRAMS = fileURLToPath(new URL("../programs/", import.meta.url));

/** The least agent, once for each interpreter, as the words of a command in a workspace. */
export const AGENT_COMMANDS = { sh: ["/bin/sh", "agent.sh"], node: [process.execPath, "agent.mjs"] } as const;
export type AgentKind = keyof typeof AGENT_COMMANDS;

/** The same programs where they lie, for floors. */
export function agentArgv(kind: AgentKind): [string, string] {
  const [interpreter, file] = AGENT_COMMANDS[kind];
  return [interpreter, path.join(PROGRAMS, file)];
}

/** An agent that says so many things, one every so many milliseconds; 0: as fast as it can. */
export function chattyCommand(count: number, everyMs: number): string[] {
  return [process.execPath, "chatty.mjs", String(count), String(everyMs)];
}

/** The same where it lies, for a floor. */
export function chattyArgv(count: number, everyMs: number): string[] {
  return [process.execPath, path.join(PROGRAMS, "chatty.mjs"), String(count), String(everyMs)];
}

/** What a client says to an agent in one run. */
export const SESSION = [
  { jsonrpc: "2.0", id: 0, method: "initialize", params: { protocolVersion: 1, clientCapabilities: {} } },
  { jsonrpc: "2.0", id: 1, method: "session/new", params: { cwd: "/", mcpServers: [] } },
  { jsonrpc: "2.0", id: 2, method: "session/prompt", params: { sessionId: "s1", prompt: [{ type: "text", text: "Say ok" }] } },
]
  .map((message) => `${JSON.stringify(message)}\n`)
  .join("");

/** A repository of a few files with one commit, which holds the agents. */
export function makeRepository(root: string): string {
  const repository = path.join(root, "repository");
  mkdirSync(repository);
  for (const name of AGENTS) copyFileSync(path.join(PROGRAMS, name), path.join(repository, name));
  writeFileSync(path.join(repository, "README.md"), "What a bench works on.\n");
  const git = (...words: string[]): void => void execFileSync("git", ["-C", repository, ...words]);
  git("init", "--quiet", "--initial-branch=main");
  git("add", "--all");
  git("-c", "user.name=Bench", "-c", "user.email=bench@runyard.invalid", "commit", "--quiet", "--message", "First");
  return repository;
}

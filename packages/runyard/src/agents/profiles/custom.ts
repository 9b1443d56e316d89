import path from "node:path";
import { baseEnv, openaiEnv, type AgentProfile, type ProfileContext } from "./profile.ts";

/** Any program that speaks ACP on stdio, by the words of its command. */
export const customProfile: AgentProfile = {
  name: "custom",
  quirks: {},
  apis: [],
  picksModel: false,
  install: null,
  loginPlace: null,
  ownLogin: "Runyard does not know what logins a program of your own has.",
  argv: customArgv,
  env: (c) => ({ ...baseEnv(c), ...openaiEnv(c) }),
  homeFiles: () => [],
  mounts: () => [],
  probe: () => Promise.resolve({ installed: true, version: null, program: null, reason: null }),
};

/**
 * The user's words, with the program made certain: a path is relative to the workspace, `node` is the
 * Node that Runyard itself runs on, any other bare name is looked up in the system's directories.
 */
function customArgv(c: ProfileContext): string[] {
  const [program, ...words] = c.command ?? [];
  if (program === undefined) throw new Error("The profile custom needs a command: say which program speaks the Agent Client Protocol.");
  return [placeProgram(program, c), ...words];
}

/** A path from the top of the workspace as an absolute one; `node` as the one that Runyard runs on. */
export function placeProgram(program: string, c: Pick<ProfileContext, "workspace" | "nodeProgram">): string {
  if (program === "node") return c.nodeProgram;
  if (!program.includes("/")) return program;
  return path.posix.resolve(c.workspace, program);
}

import { baseEnv, CHAT_APIS, openaiEnv, type AgentProfile } from "./profile.ts";

/** Runyard's own agent: a bundle that comes with this package, so it is always there. */
export const builtinProfile: AgentProfile = {
  name: "builtin",
  quirks: { hasRunTools: true },
  apis: CHAT_APIS,
  picksModel: false,
  install: null,
  loginPlace: null,
  ownLogin: "The built-in agent has no login of its own.",
  argv: (c) => [c.nodeProgram, c.builtinProgram],
  env: (c) => ({ ...baseEnv(c), ...openaiEnv(c), ...contextLimit(process.env) }),
  homeFiles: () => [],
  mounts: () => [],
  probe: () => Promise.resolve({ installed: true, version: null, program: null, reason: null }),
};

/** How much of a conversation the model takes, where the server was told so. */
function contextLimit(env: NodeJS.ProcessEnv): Record<string, string> {
  const tokens = env["RUNYARD_CONTEXT_TOKENS"];
  return tokens ? { RUNYARD_CONTEXT_TOKENS: tokens } : {};
}

import { baseEnv, openaiEnv, type AgentProfile } from "./profile.ts";

/** Runyard's own agent: a bundle that comes with this package, so it is always there. */
export const builtinProfile: AgentProfile = {
  name: "builtin",
  needsModel: true,
  quirks: {},
  argv: (c) => [c.nodeProgram, c.builtinProgram],
  env: (c) => ({ ...baseEnv(c), ...openaiEnv(c) }),
  homeFiles: () => [],
  mounts: () => [],
  probe: () => Promise.resolve({ installed: true, version: null, program: null, reason: null }),
};

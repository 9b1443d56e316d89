import type { ProfileContext } from "../profile.ts";

export const CONTEXT: ProfileContext = {
  workspace: "/workspace",
  home: "/home/agent",
  gatewayUrl: "http://127.0.0.1:3128",
  token: "run-token",
  model: "some-model",
  command: null,
  builtinProgram: "/runtime/agent.mjs",
  nodeProgram: "/opt/node/bin/node",
};

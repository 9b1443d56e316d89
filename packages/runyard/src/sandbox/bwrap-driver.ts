import type { SandboxDriver } from "./driver.ts";

export const bwrapDriver: SandboxDriver = {
  name: "bwrap",
  probe: async () => ({
    available: false,
    reason: "this sandbox is not built yet",
    isolation: { filesystem: "hard", network: "hard", processes: "hard" },
  }),
  pathsInside: () => ({ workspace: "/workspace", home: "/home/agent" }),
  gatewayUrl: () => "http://127.0.0.1:3128",
  prepare: () => Promise.reject(new Error("this sandbox is not built yet")),
};

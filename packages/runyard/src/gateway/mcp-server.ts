import { z } from "zod";

/** An MCP server over HTTP that a run's agent reaches by way of this gateway: where it is, and what goes along with every request. */
export const remoteMcpServerSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,31}$/, "must be a short name"),
  url: z.url({ protocol: /^https?$/ }),
  headers: z.record(z.string(), z.string()),
});
export type RemoteMcpServer = z.infer<typeof remoteMcpServerSchema>;

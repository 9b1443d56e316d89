import { readFileSync } from "node:fs";
import type { Home } from "../home.ts";
import { isAlive, processIdentitySchema } from "../process-identity.ts";
import { z } from "zod";

const recordSchema = processIdentitySchema.extend({ url: z.string(), version: z.string() });
/** What `server.json` in the home says of the server that runs. */
export type LocalServer = z.infer<typeof recordSchema>;

/** The server of this home, or null where none is running. */
export function localServer(home: Home): LocalServer | null {
  try {
    const record = recordSchema.parse(JSON.parse(readFileSync(home.serverFile, "utf8")));
    return isAlive(record) ? record : null;
  } catch {
    return null;
  }
}

import { z } from "zod";

/** Body of `POST /v1/agent-runs/{id}/shell`. */
export const openShellSchema = z.strictObject({
  /** What to run, word by word; left out: a shell. */
  command: z
    .array(z.string().max(100_000))
    .min(1)
    .max(1_000)
    .refine(
      (words) => words.every((word) => !word.includes("\0")) && !/^(-|$)/.test(words[0] ?? ""),
      "must begin with the name of a program",
    )
    .optional(),
  /** `TERM` of the terminal that it is attached to; left out: it is attached to none. */
  terminal: z
    .string()
    .regex(/^[\w.+-]{1,64}$/, "must be the name of a terminal, for example xterm-256color")
    .optional(),
  /** It gets the secrets of the run in its environment. */
  withSecrets: z.boolean().default(false),
});
export type OpenShellRequest = z.input<typeof openShellSchema>;

/** Answer of `POST /v1/agent-runs/{id}/shell`. */
export const openedShellSchema = z.object({
  /** On the machine of the server: what is to be started, for whoever may read its home, within half a minute. */
  directory: z.string(),
  driver: z.string(),
  /** Hosts that it may reach; none: it has no network. */
  egress: z.array(z.string()),
});
export type OpenedShell = z.infer<typeof openedShellSchema>;

/** The query `path` of `GET /v1/agent-runs/{id}/workspace` and of `…/archive`. */
export const workspacePathSchema = z.strictObject({
  path: z
    .string()
    .max(4_096)
    .refine((path) => path === "" || path.split("/").every((name) => name !== "" && name !== "." && name !== ".."), {
      message: "must be a path from the top of the workspace, without . and .. in it",
    })
    .default("")
    .describe("A folder, from the top of the workspace; default: all of it."),
});

/** Something in a workspace. */
export const workspaceEntrySchema = z.object({
  /** From the top of the workspace. */
  path: z.string(),
  /** `other`: a pipe, a socket or a device, which has no content. */
  type: z.enum(["file", "directory", "link", "other"]),
  /** Bytes of a file; null for anything else. */
  size: z.number().int().nullable(),
  modifiedAt: z.iso.datetime(),
  executable: z.boolean(),
});
export type WorkspaceEntry = z.infer<typeof workspaceEntrySchema>;

/** Answer of `GET /v1/agent-runs/{id}/workspace`: what a folder holds, by name; of a file, that file. */
export const workspaceListSchema = z.object({
  data: z.array(workspaceEntrySchema),
  /** It holds more than the server lists. */
  truncated: z.boolean(),
});
export type WorkspaceList = z.infer<typeof workspaceListSchema>;

/** Events of a run's log that tell of its workspace. */
export const workspaceEventSchemas = {
  /** Somebody opened a shell, or ran a command, in the run's workspace. */
  "shell.opened": z.object({
    userId: z.string(),
    userName: z.string().optional(),
    /** It is attached to a person's terminal. */
    terminal: z.boolean(),
    withSecrets: z.boolean(),
  }),
} as const;

/** Who opened what, for people. */
export function shellWords({ userId, userName, terminal, withSecrets }: z.infer<(typeof workspaceEventSchemas)["shell.opened"]>): string {
  return `${userName ?? userId} opened ${terminal ? "a shell" : "a command"}${withSecrets ? " with the run's secrets" : ""} in the workspace`;
}

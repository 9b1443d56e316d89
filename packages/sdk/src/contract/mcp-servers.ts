import { z } from "zod";

/** What an answer of the API shows in the place of a header's or a variable's value. */
export const HIDDEN_VALUE = "[hidden]";

export const MAX_MCP_SERVERS = 16;
const MAX_MCP_CHARS = 65_536;
const MAX_HEADERS = 32;
const MAX_VARIABLES = 64;
const MAX_URL_CHARS = 2_048;

/** Headers that are the connection's own, or that belong to MCP itself. */
const OWN_HEADERS =
  /^(?:host|connection|content-length|content-type|content-encoding|accept|accept-encoding|transfer-encoding|upgrade|te|trailer|expect|proxy-.*|mcp-.*|last-event-id)$/i;

const noNul = (text: string): boolean => !text.includes("\0");
const notHidden = (text: string): boolean => text !== HIDDEN_VALUE;
const GIVE_AGAIN = `must be given again: ${HIDDEN_VALUE} only stands for it in answers`;

/** The words of a command: a program and its arguments. */
export const commandWordsSchema = z.array(z.string().min(1).max(4096).refine(noNul, "must not contain NUL")).min(1).max(64);

const urlSchema = z
  .string()
  .max(MAX_URL_CHARS)
  .refine(isPlainHttpUrl, "must be an http:// or https:// URL without a user name, a password or a fragment: secrets belong into headers")
  .refine(
    (url) => !isPlainHttpUrl(url) || !isLinkLocal(new URL(url).hostname),
    "must not be a link-local address: cloud metadata is served there",
  );

/** One server; which kind it is, `command` or `url` says. */
export const mcpServerSchema = z
  .strictObject({
    /** What agents call it. */
    name: z
      .string()
      .regex(/^[a-z0-9][a-z0-9_-]{0,31}$/, "must be 1 to 32 small letters, digits, - or _, and begin with a letter or a digit")
      .refine((name) => name !== "runyard", "must not be runyard: that is Runyard's own"),
    /** Of a server that runs inside the sandbox and speaks on stdin and stdout: the program and its arguments. */
    command: commandWordsSchema.optional(),
    /** With `command`: variables for it. They are in the sandbox, where the agent can read them. */
    env: z
      .record(
        z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, "must be the name of a variable"),
        z.string().max(16_384).refine(noNul, "must not contain NUL").refine(notHidden, GIVE_AGAIN),
      )
      .refine((env) => Object.keys(env).length <= MAX_VARIABLES, `must not have more than ${MAX_VARIABLES} variables`)
      .optional(),
    /** Of a server over streamable HTTP: its address, as the server's machine reaches it. */
    url: urlSchema.optional(),
    /** With `url`: headers of every request to it. They stay outside of the sandbox. */
    headers: z
      .record(
        z
          .string()
          .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/, "must be the name of a header")
          .refine((name) => !OWN_HEADERS.test(name), "is a header that Runyard sends itself"),
        z
          .string()
          .max(8_192)
          .regex(/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/, "must be visible ASCII characters")
          .refine(notHidden, GIVE_AGAIN),
      )
      .refine((headers) => Object.keys(headers).length <= MAX_HEADERS, `must not have more than ${MAX_HEADERS} headers`)
      .optional(),
  })
  .superRefine((server, context) => {
    const refuse = (path: string, message: string): void => context.addIssue({ code: "custom", path: [path], message });
    if ((server.command === undefined) === (server.url === undefined)) refuse("command", "give a command or a url, one of them");
    else if (server.command === undefined && server.env !== undefined) refuse("env", "belongs to a server with a command");
    else if (server.url === undefined && server.headers !== undefined) refuse("headers", "belong to a server with a url");
  });
/** A server of the Model Context Protocol that agents may use, with its secrets. */
export type McpServer = z.infer<typeof mcpServerSchema>;

/** Servers of one agent or run; each name once. */
export const mcpServersSchema = z
  .array(mcpServerSchema)
  .max(MAX_MCP_SERVERS)
  .refine((servers) => new Set(servers.map((server) => server.name)).size === servers.length, "must not have two servers of one name")
  .refine((servers) => JSON.stringify(servers).length <= MAX_MCP_CHARS, `must not be longer than ${MAX_MCP_CHARS} characters`);

/** A server as answers show it: without the values of headers and variables. */
export const mcpServerViewSchema = z.object({
  name: z.string(),
  command: z.array(z.string()).optional(),
  env: z.record(z.string(), z.string()).optional(),
  url: z.string().optional(),
  headers: z.record(z.string(), z.string()).optional(),
});
export type McpServerView = z.infer<typeof mcpServerViewSchema>;

/** The server without its secrets. */
export function withoutSecrets({
  env,
  headers,
  ...server
}: Omit<McpServer, "headers"> & { readonly headers?: Readonly<Record<string, unknown>> | undefined }): McpServerView {
  const hidden = (values: Readonly<Record<string, unknown>>): Record<string, string> =>
    Object.fromEntries(Object.keys(values).map((name) => [name, HIDDEN_VALUE]));
  return { ...server, ...(env && { env: hidden(env) }), ...(headers && { headers: hidden(headers) }) };
}

function isPlainHttpUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, hash } = new URL(text);
  return (protocol === "http:" || protocol === "https:") && username === "" && password === "" && hash === "";
}

/** Of an address that is written out; what a name stands for is looked at when it is called. */
function isLinkLocal(hostname: string): boolean {
  return /^(?:169\.254\.|\[fe[89ab][0-9a-f]:|\[fd00:ec2::254\]|\[::ffff:a9fe:)/.test(hostname);
}

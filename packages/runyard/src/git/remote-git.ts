import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { RunyardError } from "@runyard/sdk/contract";
import { GithubError } from "../core/github-answer.ts";
import type { RemoteCredential, SshKeyCredential, TokenCredential } from "../core/remote-credential.ts";
import { whyNotCalled } from "../core/repository-hosts.ts";
import type { RemoteUrl } from "../core/repository-url.ts";
import { createRedactor } from "../redact.ts";
import { BranchObstacle } from "./branch-problem.ts";
import { harmless } from "./commit-result.ts";
import { GIT_HOME, GitError, type GitHost, type GitResult, tryGit } from "./host-git.ts";
import type { RemoteAccess, RemoteWay } from "./remote-access.ts";
import { RemoteGitError } from "./remote-error.ts";

/** Folders that hold a credential while a command of git is at work. */
const FOLDER = "remote-";
/** Most bytes that may come from a repository in one command. */
const MAX_BYTES = 16 * 1024 ** 3;
/** For an answer that is short. */
export const MAX_ANSWER_BYTES = 64 * 1024 ** 2;

/** Faults of history that many repositories have and that do no harm; every other one is refused. */
const OLD_FAULTS = [
  "badDate",
  "badDateOverflow",
  "badEmail",
  "badName",
  "badTimezone",
  "duplicateEntries",
  "emptyName",
  "missingAuthor",
  "missingEmail",
  "missingNameBeforeEmail",
  "missingSpaceBeforeDate",
  "missingSpaceBeforeEmail",
  "missingTaggerEntry",
  "multipleAuthors",
  "zeroPaddedDate",
  "zeroPaddedFilemode",
].map((fault) => `fetch.fsck.${fault}=ignore`);

/** What holds for every command that talks to another machine. */
const REMOTE_CONFIG = [
  "protocol.version=2",
  "http.followRedirects=initial",
  "http.proxyAuthMethod=basic",
  "http.sslVerify=true",
  "http.extraHeader=",
  "http.emptyAuth=false",
  "http.lowSpeedLimit=1000",
  "http.lowSpeedTime=60",
  "credential.useHttpPath=false",
  "fetch.fsckObjects=true",
  // As one pack, which is there whole or not at all.
  "fetch.unpackLimit=1",
  "push.gpgSign=false",
  "push.followTags=false",
  "push.recurseSubmodules=no",
  ...OLD_FAULTS,
];

export interface RemoteCommand {
  readonly url: RemoteUrl;
  /** The words behind `git`; the URL is among them as `url.href`. */
  readonly args: readonly string[];
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Most bytes that may come from there. */
  readonly maxBytes?: number;
  /** What its credential must be good for; default: `fetch`. */
  readonly use?: "fetch" | "push";
}

export interface RemoteResult extends GitResult {
  /** What a user is to know of it. */
  readonly notices: readonly RemoteNotice[];
  /** What is shown of `stdout` without the credential: names of branches are a server's words, too. */
  masked(text: string): string;
}

export interface RemoteNotice {
  readonly code: "repository-moved" | "host-key-pinned";
  readonly message: string;
}

/**
 * Runs a command of git that talks to the host of a URL, with the credential that is stored for it, and to nobody else; once
 * more where that was refused and another one can be had.
 * The credential is in files of the command's own, which are removed with it: neither in its words, nor in what it writes.
 * Rejects with RemoteGitError where it fails, with RunyardError `repository_not_usable` where the host is not to be called.
 */
export async function remoteGit(host: GitHost, command: RemoteCommand): Promise<RemoteResult> {
  const { url, args } = command;
  const access = requireAccess(host, url);
  const ask = () =>
    access.credentialFor(url, command.use ?? "fetch").catch((error: unknown) => {
      throw error instanceof GithubError ? withoutToken(error, { url, args }) : error;
    });
  const credential = await ask();
  try {
    return await remoteGitWith(host, command, { access, credential });
  } catch (error) {
    const isRefused = error instanceof RemoteGitError && isOfCredential(error);
    if (!isRefused || credential?.kind !== "token") throw error;
    access.refused?.(credential);
    const other = await ask();
    if (other?.kind !== "token" || other.token === credential.token) throw error;
    return remoteGitWith(host, command, { access, credential: other });
  }
}

/** Whether another token of the same app may do it: one that was got before the app was given a right lives on without. */
function isOfCredential({ outcome, reason }: RemoteGitError): boolean {
  if (outcome === "declined") return /permission/i.test(reason);
  return outcome === "authentication-failed" || outcome === "not-permitted";
}

async function remoteGitWith(
  host: GitHost,
  command: RemoteCommand,
  { access, credential }: Pick<Layout, "access" | "credential">,
): Promise<RemoteResult> {
  const { url, args, signal } = command;
  if (url.protocol === "ssh" && credential === null) throw noKey(url);
  const redactor = createRedactor([], credential === null ? [] : secretsOf(credential));
  await mkdir(host.stepsDir, { recursive: true, mode: 0o700 });
  const dir = await mkdtemp(path.join(host.stepsDir, FOLDER));
  const way = access.openWay({ protocol: url.protocol, host: url.host, port: url.port, maxBytes: command.maxBytes ?? MAX_BYTES });
  const failed = (result: Omit<GitResult, "stdout"> & { readonly stdout?: string }, cause?: unknown): RemoteGitError => {
    const masked = { ...result, stderr: redactor.text(result.stderr), stdout: redactor.text(result.stdout ?? "") };
    const trouble = way.trouble && { ...way.trouble, detail: redactor.text(way.trouble.detail) };
    return new RemoteGitError(args, { ...masked, trouble, href: url.href, hasCredential: credential !== null }, { cause });
  };
  try {
    const { env, config } = await lay(dir, { url, way, credential, access });
    const options = { env, config: [...REMOTE_CONFIG, ...config], timeoutMs: command.timeoutMs, signal };
    const result = await tryGit(host, args, options).catch((error: unknown) => {
      throw error instanceof GitError ? failed({ code: error.code, stderr: error.stderr }) : error;
    });
    if (result.code !== 0) throw failed(result);
    const pinned = credential?.kind === "ssh-key" && credential.knownHosts === null ? await pin(dir, access, credential) : [];
    const stderr = redactor.text(result.stderr);
    return { ...result, stderr, notices: [...pinned, ...movedNotices(stderr, url)], masked: (text) => redactor.text(text) };
  } finally {
    way.close();
    await rm(dir, { recursive: true, force: true });
  }
}

/** Throws RunyardError where a URL is not to be called from here. */
export function requireAccess(host: GitHost, url: RemoteUrl): RemoteAccess {
  const why = host.remotes === undefined ? `${url.href} cannot be reached from here` : whyNotCalled(host.remotes.allowed, url);
  if (host.remotes === undefined || why !== null) {
    throw new RunyardError("repository_not_usable", why ?? "", { cause: new BranchObstacle("address-refused") });
  }
  return host.remotes;
}

/** An app that gets no token: what may pass is as a host that is away, so that it is tried again. */
function withoutToken(error: GithubError, { url, args }: Pick<RemoteCommand, "url" | "args">): Error {
  const { verdict } = error;
  const why = error.message.replace(/\.$/, "");
  const options = { cause: error };
  if (verdict.type !== "later") return new RunyardError("repository_not_usable", `${url.href} cannot be used: ${why}`, options);
  const trouble = { kind: "unreachable", detail: why } as const;
  return new RemoteGitError(args, { code: 128, stderr: why, trouble, href: url.href, hasCredential: true }, options);
}

function noKey(url: RemoteUrl): RunyardError {
  return new RunyardError(
    "repository_not_usable",
    `No key is stored for ${url.href}, and SSH shows nothing without one: store one with \`runyard credentials add ${url.href} --ssh-key FILE\``,
    { cause: new BranchObstacle("not-authenticated") },
  );
}

/** What must not be in anything that is told, also as a header holds it. */
function secretsOf(credential: RemoteCredential): { readonly name: string; readonly value: string }[] {
  if (credential.kind === "ssh-key") return [{ name: "credential", value: credential.privateKey }];
  const { username, token } = credential;
  return [token, Buffer.from(`${username}:${token}`).toString("base64")].map((value) => ({ name: "credential", value }));
}

interface Layout {
  readonly url: RemoteUrl;
  readonly way: RemoteWay;
  readonly credential: RemoteCredential | null;
  readonly access: RemoteAccess;
}

interface Laid {
  readonly env: Readonly<Record<string, string>>;
  readonly config: readonly string[];
}

/** Writes what a command needs into its folder. */
async function lay(dir: string, layout: Layout): Promise<Laid> {
  const { url, way, credential, access } = layout;
  const proxy = `http://git:${way.token}@127.0.0.1:${way.port}`;
  if (url.protocol === "ssh") {
    if (credential?.kind !== "ssh-key") throw noKey(url);
    return { env: { ...(await laySsh(dir, credential)), RUNYARD_WAY: proxy, GIT_ALLOW_PROTOCOL: "ssh" }, config: [] };
  }
  const config = credential?.kind === "token" ? await layHelper(dir, url, credential) : [];
  const env = {
    GIT_ALLOW_PROTOCOL: url.protocol === "http" ? "http:https" : "https",
    // Behind a password of its own, which is not on the command line.
    GIT_CONFIG_COUNT: "1",
    GIT_CONFIG_KEY_0: "http.proxy",
    GIT_CONFIG_VALUE_0: proxy,
  };
  if (access.trusted === null) return { env, config };
  const authorities = path.join(dir, "authorities.pem");
  await writeFile(authorities, access.trusted, { mode: 0o600 });
  return { env, config: [...config, `http.sslCAInfo=${authorities}`] };
}

/** Answers git's question for the credential of one host, and no other. */
async function layHelper(dir: string, url: RemoteUrl, { username, token }: TokenCredential): Promise<string[]> {
  const answer = path.join(dir, "credential");
  const helper = path.join(dir, "helper");
  await writeFile(answer, `username=${username}\npassword=${token}\n`, { mode: 0o600 });
  await writeFile(helper, `#!/bin/sh\n[ "$1" = get ] && exec cat ${quoted(answer)}\nexit 0\n`, { mode: 0o700 });
  return [`credential.${new URL(url.href).origin}.helper=!${quoted(helper)}`];
}

/** Connects what ssh says with the proxy: $RUNYARD_WAY is the proxy's URL. */
const DIAL_PROGRAM = `"use strict";
const { RUNYARD_WAY } = process.env;
const way = new URL(RUNYARD_WAY);
const [host, port] = process.argv.slice(2);
const request = require("node:http").request({
  host: way.hostname,
  port: way.port,
  method: "CONNECT",
  path: (host.includes(":") ? "[" + host + "]" : host) + ":" + port,
  headers: { "proxy-authorization": "Basic " + Buffer.from(way.username + ":" + way.password).toString("base64") },
});
request.on("error", () => process.exit(1));
request.on("connect", (answer, socket, head) => {
  if (answer.statusCode !== 200) process.exit(1);
  process.stdout.write(head);
  process.stdin.pipe(socket).pipe(process.stdout);
  socket.on("error", () => process.exit(1));
  socket.on("close", () => process.exit(0));
});
request.end();
`;

async function laySsh(dir: string, { privateKey, knownHosts }: SshKeyCredential): Promise<Record<string, string>> {
  const file = (name: string): string => path.join(dir, name);
  await writeFile(file("key"), `${privateKey.replaceAll("\r\n", "\n").trimEnd()}\n`, { mode: 0o600 });
  await writeFile(file("known_hosts"), knownHosts ?? "", { mode: 0o600 });
  await writeFile(file("dial.cjs"), DIAL_PROGRAM, { mode: 0o600 });
  const settings = [
    "BatchMode yes",
    "IdentitiesOnly yes",
    "IdentityAgent none",
    `IdentityFile ${inConfig(file("key"))}`,
    "PreferredAuthentications publickey",
    `UserKnownHostsFile ${inConfig(file("known_hosts"))}`,
    "GlobalKnownHostsFile /dev/null",
    `StrictHostKeyChecking ${knownHosts === null ? "accept-new" : "yes"}`,
    "UpdateHostKeys no",
    "CheckHostIP no",
    "HashKnownHosts no",
    "ControlMaster no",
    "ControlPath none",
    "ForwardAgent no",
    "ForwardX11 no",
    "PermitLocalCommand no",
    "ClearAllForwardings yes",
    "ConnectTimeout 20",
    "ServerAliveInterval 15",
    "ServerAliveCountMax 4",
    "LogLevel ERROR",
    `ProxyCommand ${inConfig(process.execPath)} ${inConfig(file("dial.cjs"))} %h %p`,
  ];
  await writeFile(file("ssh_config"), `Host *\n${settings.map((line) => `  ${line}\n`).join("")}`, { mode: 0o600 });
  return { GIT_SSH_COMMAND: `ssh -F ${quoted(file("ssh_config"))}`, GIT_SSH_VARIANT: "ssh", SHELL: "/bin/sh" };
}

/** A word of a POSIX shell. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A path in ssh's own configuration, where a percent sign means something. */
function inConfig(file: string): string {
  return `"${file.replaceAll("%", "%%")}"`;
}

async function pin(dir: string, access: RemoteAccess, { id }: SshKeyCredential): Promise<RemoteNotice[]> {
  const learned = await readFile(path.join(dir, "known_hosts"), "utf8");
  if (learned.trim() === "") return [];
  await access.pinHost(id, learned);
  const kinds = learned.split("\n").flatMap((line) => line.split(" ").slice(0, 2).join(" ") || []);
  const message = `The host was called for the first time, and nobody vouched for its key: from now on it must show this one (${kinds.join(", ")}). Compare it with what the host's owner publishes; \`runyard credentials\` shows it.`;
  return [{ code: "host-key-pinned", message }];
}

function movedNotices(stderr: string, url: RemoteUrl): RemoteNotice[] {
  const [, to] = /^warning: redirecting to (\S+)$/m.exec(stderr) ?? [];
  if (to === undefined) return [];
  const message = `The server of ${url.href} sends to ${harmless(to)}, which was followed since it is the same host: give that URL from now on.`;
  return [{ code: "repository-moved", message }];
}

/**
 * Folders of commands whose server was killed hold credentials, bundles and patches: whoever starts the next server removes
 * them. A command that is still at work goes on without its folder.
 */
export async function removeLeftFolders(stepsDir: string): Promise<void> {
  const names = await readdir(stepsDir).catch(() => []);
  for (const name of names.filter((one) => one !== GIT_HOME))
    await rm(path.join(stepsDir, name), { recursive: true, force: true, maxRetries: 5 });
}

import { RunyardError } from "@runyard/sdk/contract";
import { harmless } from "./commit-result.ts";
import { GitError, type GitResult } from "./host-git.ts";
import type { RemoteWay } from "./remote-access.ts";

/** What can stand between us and a repository on another machine. */
export type RemoteOutcome =
  | "authentication-failed"
  | "not-permitted"
  | "declined"
  | "archived"
  | "non-fast-forward"
  | "not-found"
  | "moved"
  | "host-key"
  | "certificate"
  | "address-refused"
  | "network"
  | "timeout"
  | "too-large"
  | "unknown";

/** Those that may be over when it is tried again. */
const PASSING: readonly RemoteOutcome[] = ["network", "timeout"];

/** A command of git for a repository on another machine that did not end well. Its `stderr` holds no credential. */
export class RemoteGitError extends GitError {
  readonly outcome: RemoteOutcome;
  /** What it was, in a sentence without its end. */
  readonly reason: string;
  constructor(args: readonly string[], failed: Failed, options?: ErrorOptions) {
    super(args, failed, options);
    const { outcome, reason } = classify(failed);
    this.outcome = outcome;
    this.reason = reason;
  }
}

interface Failed extends Omit<GitResult, "stdout"> {
  readonly stdout?: string;
  readonly trouble: RemoteWay["trouble"];
  readonly href: string;
  readonly hasCredential: boolean;
}

/** What stood in the way; null: something else than a repository on another machine. */
export function remoteOutcome(error: unknown): RemoteOutcome | null {
  if (error instanceof RemoteGitError) return error.outcome;
  return error instanceof Error && error.cause !== undefined ? remoteOutcome(error.cause) : null;
}

/** Whether it may be over when it is tried again. */
export function mayPass(outcome: RemoteOutcome): boolean {
  return PASSING.includes(outcome);
}

/** The error for a user. */
export function remoteNotUsable(error: RemoteGitError, what: string): RunyardError {
  return new RunyardError("repository_not_usable", `${what}: ${error.reason}`, { cause: error });
}

interface Classified {
  readonly outcome: RemoteOutcome;
  readonly reason: string;
}

/** What git and programs that it starts say, in the order in which it is looked for; where a push got as far as an answer, that answer counts. */
const SAID: readonly (readonly [pattern: RegExp, outcome: RemoteOutcome])[] = [
  [/stale info|non-fast-forward|\(fetch first\)|cannot lock ref|failed to update ref|reference already exists/, "non-fast-forward"],
  [/HTTP 413|returned error: 413|unpacker error.*too large|pack exceeds maximum|^fatal: Out of memory/im, "too-large"],
  [/pre-receive hook declined|hook declined|protected branch|GH00\d|\[remote rejected\]|deny updating|prohibited/i, "declined"],
  [/Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED/, "host-key"],
  [
    /Permission denied \(publickey|Load key .*: (?:error|invalid)|returned error: 401|Authentication failed|could not read (?:Username|Password)/,
    "authentication-failed",
  ],
  [/repository (?:was|is|has been) archived/i, "archived"],
  [/returned error: 403|Permission to .* denied|denied to|not allowed to push|read.only/i, "not-permitted"],
  [
    /returned error: 404|[Rr]epository .*not found|Repository not found|does not appear to be a git repository|no such repository/i,
    "not-found",
  ],
  [/returned error: 30\d|unable to update url base from redirection|not supported or disabled in libcurl/, "moved"],
  [/SSL certificate|certificate verif|self.signed|unable to get local issuer|SSL_ERROR|TLS connection|gnutls_handshake/i, "certificate"],
  [/Operation too slow|timed? ?out|it took longer than/i, "timeout"],
  [
    /Could not resolve|Failed to connect|Connection (?:refused|reset|closed)|early EOF|unexpected disconnect|Empty reply|RPC failed|hung up|Proxy CONNECT aborted|returned error: (?:429|5\d\d)|response 502|kex_exchange/i,
    "network",
  ],
];

function classify(failed: Failed): Classified {
  const { trouble, href, hasCredential } = failed;
  if (trouble !== null) return ofTrouble(trouble, href);
  const text = `${bounded(failed.stderr)}\n${bounded(failed.stdout ?? "")}`;
  // What a hook prints stands beside it, and may be anything.
  const looked = rejectionIn(failed.stdout ?? "") ?? text;
  const outcome = SAID.find(([pattern]) => pattern.test(looked))?.[1] ?? "unknown";
  const said = lastWords(text);
  const told = said === "" ? "" : ` (${said})`;
  const isSsh = !/^https?:/.test(href);
  const reasons: Record<RemoteOutcome, string> = {
    "authentication-failed": hasCredential
      ? `its server refused the credential that is stored for it: store a valid one with \`runyard credentials add\``
      : `its server asks who is there, and no credential is stored for it: store one with \`runyard credentials add ${href} ${isSsh ? "--ssh-key FILE" : "--token-stdin"}\``,
    "not-permitted": `the credential that is stored for it may not do that there${told}: give it the right to, or store another one`,
    declined: `its server declined the branch${told}`,
    archived: `it is archived, and takes nothing more: take it out of the archive, or give the URL of another repository to a new run`,
    "non-fast-forward": "somebody else moved the branch in the meantime",
    "not-found": `its server knows no such repository${hasCredential ? ", or does not show it to the stored credential: see that it is there, or store another credential with `runyard credentials add`" : "; if it is private, store a credential with `runyard credentials add`"}`,
    moved: `its server sends to another place${told}: give the URL where it is now`,
    "host-key":
      "the host does not show the key that is stored for it. If its key was replaced, store the credential again with --known-hosts; if not, somebody may be in between",
    certificate: `the certificate of its server is not trusted${told}`,
    "address-refused": "its address is refused",
    network: `its server could not be reached, or broke off${told}`,
    timeout: "its server took too long",
    "too-large": "it is too large",
    unknown: said === "" ? `git ended with code ${failed.code}` : said,
  };
  return { outcome, reason: reasons[outcome] };
}

function ofTrouble({ kind, detail }: NonNullable<RemoteWay["trouble"]>, href: string): Classified {
  switch (kind) {
    case "address-refused":
      return {
        outcome: "address-refused",
        reason: `${detail}. An administrator can allow its host with RUNYARD_REPOSITORY_HOSTS for \`runyard up\``,
      };
    case "other-host":
      return {
        outcome: "moved",
        reason: `its server sends to another one, ${detail}: give the URL where it is now, if that is to be trusted`,
      };
    case "too-large":
      return { outcome: "too-large", reason: `its server sent ${detail}` };
    case "unreachable":
      return { outcome: "network", reason: `the host of ${href} could not be reached: ${detail}` };
  }
}

/** Most of what the other side says that is looked at: a hook may print for ever, and in one line. */
const LOOKED_LINES = 100;
const LOOKED_CHARS = 500;

function bounded(text: string): string {
  const lines = text.split("\n", 100_000);
  const kept = lines.length <= 2 * LOOKED_LINES ? lines : [...lines.slice(0, LOOKED_LINES), ...lines.slice(-LOOKED_LINES)];
  return kept.map((line) => line.slice(0, LOOKED_CHARS)).join("\n");
}

/** Why a push was refused, as `git push --porcelain` says it for the branch; null: it did not get that far. */
function rejectionIn(stdout: string): string | null {
  return /^!\t[^\t\n]{0,600}\t(\[(?:remote )?rejected\].{0,500})/m.exec(stdout)?.[1] ?? null;
}

/** The complaint that tells most, short, and with nothing in it that acts on a terminal. */
function lastWords(text: string): string {
  const lines = text
    .split("\n")
    .map((line) => harmless(line.replace(/^!\t[^\t]*\t/, "").trim()))
    .filter((line) => line !== "" && !/^(To |Pushing to|hint:|Done$|!?\s*refs\/|POST git-)/.test(line));
  const remote = lines.filter(
    (line) => /^(remote|ERROR): /.test(line) && !/^remote: (Enumerating|Counting|Compressing|Total|Resolving|Processing)/.test(line),
  );
  const best =
    remote.length > 0 ? remote.slice(0, 2).join(" ") : (lines.findLast((line) => /fatal|error|rejected/.test(line)) ?? lines.at(-1) ?? "");
  return best
    .replaceAll(/(^|\s)(?:(?:remote|fatal|error|ERROR): +)+/g, "$1")
    .trim()
    .slice(0, 300);
}

import type { PullRequestProblemCode } from "@runyard/sdk/contract";
import { type GithubRefusal, type GithubVerdict, judgeAnswer, quotedAnswer } from "./github-answer.ts";

/** What a token of an app is used for: one for each, so that none may do more. */
export type GithubUse = "fetch" | "push" | "see-pull-request" | "pull-request" | "draft" | "checks";

/** Rights by GitHub's names, as `contents`. */
export type GithubPermissions = Readonly<Record<string, string>>;

interface Needed {
  readonly always: GithubPermissions;
  /** Where the app has it: what goes on without. */
  readonly ifGranted?: GithubPermissions;
}

const NEEDED: Readonly<Record<GithubUse, Needed>> = {
  fetch: { always: { contents: "read" } },
  // Without `workflows` GitHub declines commits that change `.github/workflows`.
  push: { always: { contents: "write" }, ifGranted: { workflows: "write" } },
  "see-pull-request": { always: { pull_requests: "read" } },
  "pull-request": { always: { pull_requests: "write" } },
  // To make one a draft, or ready, GitHub wants the right to write contents as well.
  draft: { always: { contents: "write", pull_requests: "write" } },
  // `actions` is for the logs of what failed.
  checks: { always: { checks: "read", statuses: "read" }, ifGranted: { actions: "read" } },
};

/** The least that a token must be allowed, of what an installation of the app has. */
export function permissionsFor(use: GithubUse, granted: GithubPermissions): GithubPermissions {
  const { always, ifGranted = {} } = NEEDED[use];
  return { ...always, ...Object.fromEntries(Object.entries(ifGranted).filter((one) => isGranted(granted, one))) };
}

function isGranted(granted: GithubPermissions, [name, level]: readonly [string, string]): boolean {
  return granted[name] === level || granted[name] === "write" || granted[name] === "admin";
}

/** Before the end of a token another one is got, so that a command that begins with it can come to its own end. */
const MARGIN_MS = 5 * 60_000;

/** Until when a token is used, by the clock of this machine, which need not agree with GitHub's. Times in milliseconds. */
export function usedUntil(token: { readonly expiresAt: number; readonly answeredAt: number }, now: number): number {
  return now + token.expiresAt - token.answeredAt - MARGIN_MS;
}

/** Claims of the token by which an app shows itself: GitHub takes ten minutes at most, and a clock that is a little fast. Seconds. */
export function appClaims(appId: string, nowMs: number): { readonly iat: number; readonly exp: number; readonly iss: string } {
  const now = Math.floor(nowMs / 1_000);
  return { iat: now - 60, exp: now + 540, iss: appId };
}

/** How far a clock may be ahead of GitHub's, and behind it, for those claims to hold there; less what an answer takes. Milliseconds. */
const MOST_AHEAD_MS = 50_000;
const MOST_BEHIND_MS = 530_000;

export interface AppCall {
  readonly appId: string;
  /** Of the API, for sentences. */
  readonly host: string;
  readonly owner: string;
  readonly name: string;
  readonly nowMs: number;
  readonly use: GithubUse;
  /** What its installation has; null: its installation is looked for. */
  readonly granted: GithubPermissions | null;
}

type Refused = Exclude<GithubVerdict, { readonly type: "exists" }>;

/** What it means that an app did not get a token for a repository. */
export function judgeAppAnswer(refusal: GithubRefusal, call: AppCall): GithubVerdict {
  const { status, message, headers } = refusal;
  const { appId, host, nowMs, granted } = call;
  const never = (code: PullRequestProblemCode, advice: string): GithubVerdict => neverBecause(code, `${quotedAnswer(refusal)}. ${advice}`);
  if (status === 401) {
    const aheadMs = nowMs - Date.parse(headers["date"] ?? "");
    if (aheadMs > MOST_AHEAD_MS || aheadMs < -MOST_BEHIND_MS)
      return never(
        "clock-off",
        `The clock of this machine is ${inWords(Math.abs(aheadMs))} ${aheadMs > 0 ? "ahead of" : "behind"} that of ${host}, so that GitHub takes nothing that it signs: set it right.`,
      );
    return never(
      "app-key-refused",
      `The private key that is stored is none of the GitHub App ${appId}: make one in the app's settings, and store it (runyard credentials add).`,
    );
  }
  if (status === 404 && /integration not found/i.test(message))
    return never(
      "app-key-refused",
      `${host} knows no GitHub App ${appId}: store it with its app id or client id (runyard credentials add).`,
    );
  if (status === 404) return notInstalled(call, quotedAnswer(refusal));
  if (status === 403 && /suspended/i.test(message)) return suspended(call);
  if (status === 422 && granted !== null && /permission/i.test(message)) return notGranted(call, granted, quotedAnswer(refusal));
  if (status === 422 && /repositor/i.test(message)) return notInstalled(call, quotedAnswer(refusal));
  return judgeAnswer(refusal, { host, nowMs });
}

function notInstalled({ appId, owner, name }: AppCall, said: string): Refused {
  const advice = `The GitHub App ${appId} is not installed where it could see ${owner}/${name}, or there is no such repository: install it for ${owner}, with access to this repository.`;
  return neverBecause("app-not-installed", `${said}. ${advice}`);
}

/** What it means that an app's installation is suspended. */
export function suspended({ appId, owner }: Pick<AppCall, "appId" | "owner">): Refused {
  const advice = `Whoever administers ${owner} can lift that in its settings, where its installed GitHub Apps are.`;
  return neverBecause("app-suspended", `The installation of the GitHub App ${appId} for ${owner} is suspended. ${advice}`);
}

function notGranted({ appId, owner, use }: AppCall, granted: GithubPermissions, said: string): Refused {
  const missing = Object.entries(NEEDED[use].always).filter((one) => !isGranted(granted, one));
  const names = missing.map(([name, level]) => `${name}: ${level}`).join(", ") || "what was asked for";
  const advice = `The GitHub App ${appId} is not granted ${names}: give it that in the app's settings, and have ${owner} accept it.`;
  return neverBecause("app-permission-missing", `${said}. ${advice}`);
}

function neverBecause(code: PullRequestProblemCode, message: string): Refused {
  return { type: "never", problem: { code, message } };
}

function inWords(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 120) return `${seconds} seconds`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} minutes` : `${Math.round(minutes / 60)} hours`;
}

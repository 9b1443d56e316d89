import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { loginStanding } from "../../core/own-login.ts";

/** A login that an agent program holds, without what renews it: so nothing can rotate it, and any number of runs can have it. */
export interface AgentLogin {
  /** What stands behind `Bearer` in its calls. */
  readonly accessToken: string;
  /** Whose subscription pays, where calls say so. */
  readonly accountId: string | null;
  /** What the subscription is called; the program goes by it. */
  readonly plan: string | null;
  /** Milliseconds since 1970; null: it does not say. */
  readonly expiresAtMs: number | null;
}

/** How an agent program keeps the login that its user gave it. */
export interface OwnLogin {
  /** What people call the program. */
  readonly title: string;
  /** Its file, below the user's home, and the variable that names another folder for it. */
  readonly place: string;
  readonly folderVariable: string;
  /** What a user does on the server's machine to have a new one. */
  readonly renew: string;
  /** Throws an Error that says in plain words what the file is instead, never with anything of it. */
  parse(content: unknown): AgentLogin;
}

/** How a login stands. */
export interface LoginLook {
  /** Null where it cannot be read; `plan` too. */
  readonly expiresAtMs: number | null;
  readonly plan: string | null;
  /** Why runs cannot have it, and what to do; null: they can. */
  readonly reason: string | null;
}

/** What stands in for a login where no maker is called: in simulated runs and in replays. Programs choose their models by the plan. */
export function standInLogin(token: string, plan: string | null): AgentLogin {
  return { accessToken: token, accountId: "runyard", plan, expiresAtMs: null };
}

/** The file of a login. */
export function loginFile({ place, folderVariable }: OwnLogin, env: NodeJS.ProcessEnv): string {
  const told = env[folderVariable];
  return told ? path.join(told, path.basename(place)) : path.join(env["HOME"] || homedir(), place);
}

/** Reads a login that a run can begin with. Throws an Error with plain sentences that say why there is none, and what to do. */
export function readLogin(own: OwnLogin, { env, nowMs }: { readonly env: NodeJS.ProcessEnv; readonly nowMs: number }): AgentLogin {
  const login = parseLogin(own, env);
  const why = whyNotHeld(own, { ...login, nowMs });
  if (why !== null) throw new Error(why);
  return login;
}

/** Null: it holds for long enough. */
function whyNotHeld(own: OwnLogin, { expiresAtMs, nowMs }: { readonly expiresAtMs: number | null; readonly nowMs: number }): string | null {
  const standing = loginStanding(expiresAtMs, nowMs);
  if (standing === "usable" || expiresAtMs === null) return null;
  const when = new Date(expiresAtMs).toISOString();
  const words = standing === "expired" ? `has expired (${when})` : `expires within a few minutes (${when})`;
  return `${own.title}'s login on the server's machine ${words}. Renew it there: ${own.renew}.`;
}

/** The same for those who only want to know. */
export function lookAtLogin(own: OwnLogin, { env, nowMs }: { readonly env: NodeJS.ProcessEnv; readonly nowMs: number }): LoginLook {
  try {
    const { expiresAtMs, plan } = parseLogin(own, env);
    return { expiresAtMs, plan, reason: whyNotHeld(own, { expiresAtMs, nowMs }) };
  } catch (error) {
    return { expiresAtMs: null, plan: null, reason: (error as Error).message };
  }
}

function parseLogin(own: OwnLogin, env: NodeJS.ProcessEnv): AgentLogin {
  const file = loginFile(own, env);
  const content = readContent(own, file);
  try {
    return own.parse(content);
  } catch (error) {
    throw new Error(`${own.title}'s login in ${file} ${(error as Error).message} Make it anew there: ${own.renew}.`, { cause: error });
  }
}

function readContent(own: OwnLogin, file: string): unknown {
  const text = ((): string => {
    try {
      return readFileSync(file, "utf8");
    } catch (error) {
      const { code = "unknown" } = error as NodeJS.ErrnoException;
      const what =
        code === "ENOENT"
          ? `has no login on the server's machine: there is no ${file}`
          : `keeps its login in ${file}, which cannot be read (${code})`;
      throw new Error(`${own.title} ${what}. Log in there: ${own.renew}.`, { cause: error });
    }
  })();
  try {
    return JSON.parse(text);
  } catch {
    // What the parser says would quote the text, and with it perhaps the login.
    return undefined;
  }
}

/** What stands at a place of JSON; undefined where that is not there. */
export function at(value: unknown, ...names: readonly string[]): unknown {
  let found = value;
  for (const name of names) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, name)) return undefined;
    found = (found as Record<string, unknown>)[name];
  }
  return found;
}

/** A token as it can stand in a header, and is long enough to be told from other words; undefined for anything else. */
export function tokenIn(value: unknown): string | undefined {
  return typeof value === "string" && /^[\x21-\x7e]{16,}$/.test(value) ? value : undefined;
}

/** The last moment that a date can be, in milliseconds since 1970. */
const LAST_MS = 8.64e15;

/** A time in such units as milliseconds since 1970; null for anything else. */
export function timeIn(value: unknown, unitMs: number): number | null {
  return typeof value === "number" && value >= 0 && value * unitMs <= LAST_MS ? value * unitMs : null;
}

/** A text, or null. */
export function textIn(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

import { createHash } from "node:crypto";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { type AgentLogin, standInLogin } from "../agents/profiles/own-login.ts";
import type { RunToRegister } from "../gateway/client.ts";
import { readIfThere } from "../sandbox/run-directory.ts";
import { hasOwnLogin, type RunRow } from "../store/run-row.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs } from "./directories.ts";
import { removeHomeFile } from "./home-files.ts";
import { RunFailure } from "./run-handle.ts";

type LoginContext = Pick<RunnerContext, "home" | "readLogin" | "loginPlan">;

/**
 * The login that an attempt's agent calls with; null: it calls with the gateway's keys. It is the one that its program held when
 * the attempt began: a copy of it is kept beside the sandbox for as long as the attempt, so that a restarted server knows what
 * its log must not show. Throws RunFailure where there is none that a run can begin with.
 */
export function loginOf(ctx: LoginContext, row: RunRow): AgentLogin | null {
  if (!hasOwnLogin(row)) return null;
  const dirs = attemptDirs(ctx.home, row);
  const kept = readIfThere(dirs.login);
  if (kept !== null) return JSON.parse(kept) as AgentLogin;
  const login = heldBy(ctx, row);
  mkdirSync(dirs.root, { recursive: true, mode: 0o700 });
  writeFileSync(`${dirs.login}.tmp`, JSON.stringify(login), { mode: 0o600 });
  renameSync(`${dirs.login}.tmp`, dirs.login);
  return login;
}

/** What the agent is given: where no maker is called, a stand-in that makes it call as with the login. */
export function loginForAgent(ctx: LoginContext, row: RunRow, token: string): AgentLogin | null {
  if (row.spec.login !== "own") return null;
  return loginOf(ctx, row) ?? standInLogin(token, ctx.loginPlan(row.spec.agent.profile));
}

function heldBy(ctx: LoginContext, row: RunRow): AgentLogin {
  try {
    return ctx.readLogin(row.spec.agent.profile);
  } catch (error) {
    throw new RunFailure({ type: "no-model-configured", message: (error as Error).message });
  }
}

/** What the gateway is told of it: enough to know it again, and where it goes. */
export function gatewayLogin(
  ctx: LoginContext & Pick<RunnerContext, "loginProvider">,
  row: RunRow,
): { readonly ownLogin?: RunToRegister["ownLogin"] } {
  const login = loginOf(ctx, row);
  if (login === null) return {};
  const tokenHash = createHash("sha256").update(login.accessToken).digest("hex");
  return { ownLogin: { provider: ctx.loginProvider(row.spec.agent.profile), tokenHash, accountId: login.accountId } };
}

/** What renews the login that the run's agent calls with; null: it calls with the gateway's keys. */
export function renewalOf(ctx: Pick<RunnerContext, "profile">, row: RunRow): string | null {
  const own = hasOwnLogin(row) ? ctx.profile(row.spec.agent.profile)?.ownLogin : undefined;
  return typeof own === "object" ? own.renew : null;
}

/** Takes away what an attempt that is over had of the login: the copy, and the file in its agent's home. Never throws. */
export function forgetLogin(ctx: Pick<RunnerContext, "home" | "profile" | "log">, row: RunRow): void {
  if (row.spec.login !== "own") return;
  const dirs = attemptDirs(ctx.home, row);
  const place = ctx.profile(row.spec.agent.profile)?.loginPlace ?? null;
  try {
    rmSync(dirs.login, { force: true });
    if (place !== null) removeHomeFile(dirs.home, place);
  } catch (error) {
    ctx.log("warn", "The copy of a login could not be removed", { run: row.id, attempt: row.attempt, error: String(error) });
  }
}

import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Home } from "../home.ts";
import { isShimAlive } from "../sandbox/run-directory.ts";
import type { RunRow } from "../store/run-row.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, stepsOf } from "./directories.ts";
import { killAttempt } from "./let-go.ts";
import { isHeld } from "./overlay-workspace.ts";

/** The roots of all attempts of this home that have processes. */
export function livingAttempts(home: Pick<Home, "runsDir">): string[] {
  const below = (dir: string): string[] => (existsSync(dir) ? readdirSync(dir).map((name) => path.join(dir, name)) : []);
  return below(home.runsDir)
    .flatMap(below)
    .filter((root) => stepsOf(root).some(isShimAlive) || isHeld(root));
}

/**
 * Ends attempts that a server of this home left at work and its next one did not get back: while there was none, their
 * runs were given to another runner. Never rejects.
 */
export async function killLeftBehind(
  ctx: Pick<RunnerContext, "home" | "log">,
  attempts: readonly string[],
  adopted: readonly Pick<RunRow, "id" | "attempt">[],
): Promise<void> {
  const ours = new Set(adopted.map((row) => attemptDirs(ctx.home, row).root));
  for (const root of attempts.filter((one) => !ours.has(one))) {
    await nextTurn();
    ctx.log("warn", "An attempt that is not this runner's any more is ended", { attempt: path.relative(ctx.home.runsDir, root) });
    await killAttempt(root).catch((error: unknown) => ctx.log("error", "It could not be ended", { error: String(error) }));
  }
}

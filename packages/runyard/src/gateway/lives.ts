import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { z } from "zod";
import { exchangesFile } from "./files.ts";
import { appendLines, unsettledCalls } from "./journal-file.ts";
import { NO_TOKENS } from "./wire-format.ts";
import { isAlive, processIdentitySchema } from "../process-identity.ts";

/**
 * The gateway processes of one directory, one after the other: `lives/<n>.json` says which process is
 * number n, `lives/<n>/` names the runs that it has made calls for. The newest is the gateway. A number
 * is given once, by an atomic link, so of two processes that want to follow number n one gets n + 1.
 */
const lifeSchema = z.object({ process: processIdentitySchema, /** Second half of the ids of its calls. */ tag: z.string() });
export type Life = z.infer<typeof lifeSchema>;

function livesDir(gatewayDir: string): string {
  return path.join(gatewayDir, "lives");
}

/** The number of the newest life; 0 when there was none. */
export function newestLife(gatewayDir: string): number {
  return Math.max(0, ...lifeNumbers(gatewayDir));
}

function lifeNumbers(gatewayDir: string): number[] {
  const dir = livesDir(gatewayDir);
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .map((name) => /^(\d+)\.json$/.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number);
}

export function readLife(gatewayDir: string, number: number): Life | null {
  try {
    return lifeSchema.parse(JSON.parse(readFileSync(path.join(livesDir(gatewayDir), `${number}.json`), "utf8")));
  } catch {
    return null;
  }
}

/** Every life whose process still runs. */
export function livingLives(gatewayDir: string): Life[] {
  return lifeNumbers(gatewayDir)
    .map((number) => readLife(gatewayDir, number))
    .filter((life) => life !== null && isAlive(life.process)) as Life[];
}

/** Makes `life` number `number`; false when another process was faster. */
export function claimLife(gatewayDir: string, number: number, life: Life): boolean {
  const dir = livesDir(gatewayDir);
  mkdirSync(dir, { recursive: true });
  const draft = path.join(dir, `.${life.tag}`);
  writeFileSync(draft, JSON.stringify(life));
  try {
    linkSync(draft, path.join(dir, `${number}.json`));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Notes that a life makes calls for a run, so that its leftovers are found without reading every run's journal. */
export function markRun(gatewayDir: string, number: number, runId: string): void {
  const dir = path.join(livesDir(gatewayDir), String(number));
  mkdirSync(dir, { recursive: true });
  writeFileSync(path.join(dir, runId), "");
}

/** For a life that leaves with all its calls ended. Its number stays given. */
export function forgetRuns(gatewayDir: string, number: number): void {
  rmSync(path.join(livesDir(gatewayDir), String(number)), { recursive: true, force: true });
}

/** Ends what lives before `number` that were killed have left open in the runs' journals. Lives that still drain end their calls themselves. */
export function settleDeadLives(gatewayDir: string, number: number): void {
  for (const earlier of lifeNumbers(gatewayDir).filter((other) => other < number)) {
    const life = readLife(gatewayDir, earlier);
    if (life !== null && isAlive(life.process)) continue;
    if (life !== null) for (const runId of markedRuns(gatewayDir, earlier)) settleRun(exchangesFile(gatewayDir, runId), life.tag);
    forgetRuns(gatewayDir, earlier);
    rmSync(path.join(livesDir(gatewayDir), `${earlier}.json`), { force: true });
  }
}

function markedRuns(gatewayDir: string, number: number): string[] {
  const dir = path.join(livesDir(gatewayDir), String(number));
  return existsSync(dir) ? readdirSync(dir) : [];
}

function settleRun(file: string, tag: string): void {
  const at = new Date().toISOString();
  appendLines(
    file,
    // What was set aside for it counts as spent.
    unsettledCalls(file, tag).map(({ id, provider, model, reservedNanoUsd, reservedTokens }) => ({
      type: "close",
      id,
      at,
      provider,
      model,
      status: null,
      ok: false,
      complete: false,
      tries: null,
      ...NO_TOKENS,
      costNanoUsd: null,
      countedNanoUsd: reservedNanoUsd ?? 0,
      countedTokens: reservedTokens ?? 0,
      durationMs: null,
      headers: null,
      requestBytes: null,
      responseBytes: null,
      error: "Runyard's gateway was ended in the middle of this model call, so what the provider counted for it is not known.",
      settled: "estimate",
    })),
  );
}

import type { ChecksSettings, RunChecks, RunEvent } from "@runyard/sdk/contract";
import { duration, oneLine, type Paint } from "./output.ts";
import { wrapBehind } from "./text.ts";

/** Lines for the events that tell of checks; null: it is another event. */
export function renderChecksEvent(event: RunEvent, paint: Paint, width: number): string | null {
  switch (event.type) {
    case "checks.started":
      return wrapBehind(`  ${paint("dim", "checks")} `, `waits for those of ${event.data.commit.slice(0, 10)}, without a runner`, width);
    case "checks.finished": {
      const { outcome, message } = event.data;
      const isGood = outcome === "passed" || outcome === "none";
      const mark = isGood ? paint("green", "✓") : outcome === "failed" ? paint("red", "✗") : paint("yellow", "!");
      return wrapBehind(`  ${mark} ${paint("dim", "checks")} `, oneLine(message, 2_000), width);
    }
    default:
      return null;
  }
}

/** The checks of a run as a row; none where it waits for none, nor by servers that do not know of it. */
export function renderRunChecks(checks: RunChecks | null | undefined, row: (name: string, text: string) => string): string[] {
  if (checks == null) return [];
  const now = checks.waiting ? "it waits for them; " : "";
  return [row("checks", `${now}failures went back to the agent ${checks.rounds} of ${checks.retries} times`)];
}

/** What holds for the checks of a repository's runs. */
export function renderChecks(checks: ChecksSettings | null | undefined, row: (name: string, text: string) => string): string[] {
  if (checks == null) return [];
  const { watch, retries, retriesByCheck, ignored, prompts, timeout } = checks;
  const own = Object.entries(retriesByCheck).map(([name, times]) => `${name}: ${times}`);
  const parts = [
    watch ? "runs wait for them" : "runs wait for none, unless they say so",
    `failures go back at most ${retries} times${own.length === 0 ? "" : ` (${own.join(", ")})`}`,
    `at most ${duration(timeout)}`,
    ...(ignored.length === 0 ? [] : [`ignored: ${ignored.join(", ")}`]),
    ...(Object.keys(prompts).length === 0 ? [] : [`prompts for ${Object.keys(prompts).join(", ")}`]),
  ];
  return [row("checks", parts.join("; "))];
}

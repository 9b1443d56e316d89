import type { EventData, Run, RunEvent } from "@runyard/sdk/contract";
import { duration, oneLine, type Paint, printable } from "./output.ts";
import { wrapBehind } from "./text.ts";

/** Longest command that is shown, in characters. */
const COMMAND_CHARS = 400;
/** Lines of the end of a failed command's output that are shown. */
const OUTPUT_LINES = 10;

/** Lines for the events that tell of attempts and of what was verified; null: it is another event. */
export function renderAttemptEvent(event: RunEvent, paint: Paint, width: number): string | null {
  switch (event.type) {
    case "run.retrying":
      return renderRetrying(event.data, event.attempt, { paint, width });
    case "verify.started":
      return wrapBehind(`  ${paint("dim", "verify ")} `, oneLine(event.data.command, COMMAND_CHARS), width);
    case "verify.finished":
      return [renderVerify(event.data, paint, width), ...renderOutput(event.data, paint, width)].join("\n");
    default:
      return null;
  }
}

function renderRetrying(
  data: EventData<"run.retrying">,
  attempt: number,
  { paint, width }: { readonly paint: Paint; readonly width: number },
): string {
  const begins = data.delayMs === 0 ? "at once" : `in ${duration(data.delayMs)}`;
  const sandbox = data.sandboxType === "standard" ? "" : `, ${data.sandboxType}`;
  const error = wrapBehind(`  ${paint("red", `✗ attempt ${attempt}`)} ${data.error.type}: `, printable(data.error.message), width);
  return `${error}\n${paint(["bold", "cyan"], `▸ attempt ${data.attempt} ${begins}${sandbox}`)}`;
}

type Result = Run["verifyResults"][number];

function renderVerify(result: Result, paint: Paint, width: number): string {
  const mark = result.passed ? paint("green", "✓") : paint("red", "✗");
  const how = result.cause ?? `exit ${result.exitCode ?? "unknown"}`;
  const why = result.passed ? "" : `  ${paint("red", how)}`;
  return wrapBehind(`  ${mark} ${paint("dim", result.kind.padEnd(7))} `, oneLine(result.command, COMMAND_CHARS) + why, width);
}

/** The end of what a failed command wrote. */
export function renderOutput(
  finished: Pick<EventData<"verify.finished">, "output" | "passed" | "truncated">,
  paint: Paint,
  width: number,
): string[] {
  const lines = printable(finished.output).trimEnd().split("\n");
  if (finished.passed || lines.join("") === "") return [];
  const cut = lines.length > OUTPUT_LINES || finished.truncated ? [`    ${paint("dim", "…")}`] : [];
  return [...cut, ...lines.slice(-OUTPUT_LINES).map((line) => wrapBehind(`    ${paint("dim", "|")} `, line, width))];
}

/** What a run's document tells of its attempts, as lines. */
export function renderAttempts(run: Run, paint: Paint, width: number): string[] {
  const failed = run.failedAttempts.map(({ attempt, error }) =>
    wrapBehind(`  ${paint("red", "✗")} attempt ${attempt} ${error.type}: `, oneLine(printable(error.message), COMMAND_CHARS), width),
  );
  const next = run.retryAt === null ? [] : [`  ${paint("cyan", "→")} attempt ${run.attempt} begins at ${run.retryAt}`];
  return [...failed, ...next, ...run.verifyResults.map((result) => renderVerify(result, paint, width))];
}

import type { EventData, RunEvent, SetupShown } from "@runyard/sdk/contract";
import { bytes, duration, oneLine, type Paint, printable } from "./output.ts";
import { renderOutput } from "./render-attempts.ts";
import { wrapBehind } from "./text.ts";

/** Longest command that is shown, in characters. */
const COMMAND_CHARS = 400;

/** Lines for the events that tell of set-up; null: it is another event. */
export function renderSetupEvent(event: RunEvent, paint: Paint, width: number): string | null {
  switch (event.type) {
    case "setup.started":
      return wrapBehind(`  ${paint("dim", "set-up ")} `, oneLine(event.data.command, COMMAND_CHARS), width);
    case "setup.finished":
      return [renderFinished(event.data, paint, width), ...renderOutput(event.data, paint, width)].join("\n");
    case "snapshot.restored":
      return wrapBehind(`  ${paint("green", "✓")} set-up  `, `from ${snapshotWords(event.data)}`, width);
    case "snapshot.kept":
      return wrapBehind(`  ${paint("dim", "set-up ")} `, `kept as ${snapshotWords(event.data)}`, width);
    default:
      return null;
  }
}

function snapshotWords({ snapshotId, cacheKey, bytes: size }: EventData<"snapshot.restored">): string {
  return `${snapshotId} (${printable(cacheKey)}, ${bytes(size)})`;
}

function renderFinished(data: EventData<"setup.finished">, paint: Paint, width: number): string {
  const mark = data.passed ? paint("green", "✓") : paint("red", "✗");
  const how = data.passed ? "" : `  ${paint("red", data.cause ?? `exit ${data.exitCode ?? "unknown"}`)}`;
  const time = data.durationMs === null ? "" : `  ${paint("dim", duration(data.durationMs))}`;
  return wrapBehind(`  ${mark} ${paint("dim", "set-up")}  `, oneLine(data.command, COMMAND_CHARS) + how + time, width);
}

/** Set-up as rows; none where there is none, nor by servers that do not know of it. */
export function renderSetup(setup: SetupShown | null | undefined, row: (name: string, text: string) => string): string[] {
  if (setup == null) return [];
  const key = setup.cacheKey === null ? "" : ` (kept as ${setup.cacheKey})`;
  return [row("setup", `${setup.commands.join("; ")}${key}`)];
}

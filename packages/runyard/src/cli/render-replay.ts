import type { Divergence, Replay, Run, RunEvent } from "@runyard/sdk/contract";
import { oneLine, type Paint, plural, printable } from "./output.ts";
import { wrapBehind } from "./text.ts";

/** How a replay came out, or stands: the first line says it all, the others show the difference. */
export function renderReplay(run: Run, paint: Paint, width: number): string[] {
  const { replay } = run;
  if (replay === null) return [];
  if (replay.divergence !== null) {
    const heading = paint("red", `differs at exchange ${replay.divergence.exchange} of ${replay.exchanges}`);
    return [`${heading}${whereIn(replay.divergence)}`, ...renderDivergence(replay.divergence, paint, width), resultWords(run, replay)];
  }
  if (run.finishedAt === null) return [`no difference so far, ${plural(replay.exchanges, "recorded exchange")}`];
  const word = replay.sameResult === true ? paint("green", "identical") : paint("red", "not the same");
  return [`${word}: ${plural(replay.exchanges, "exchange")}, ${resultWords(run, replay)}`, ...turnsLeft(replay)];
}

/** Whether a replay came to exactly what was recorded. */
export function isIdentical({ replay }: Run): boolean {
  return replay !== null && replay.divergence === null && replay.sameResult === true;
}

function resultWords({ status }: Run, { sameResult }: Replay): string {
  if (sameResult === null) return "the results cannot be compared";
  return sameResult ? "same result" : status === "completed" ? "another result" : `another result: ${status}`;
}

function turnsLeft({ turn, turns, of }: Replay): string[] {
  return turns > turn ? [`Only turn ${turn} of the ${turns} turns of ${of} was replayed.`] : [];
}

function whereIn({ path }: Divergence): string {
  return path === null ? "" : `, in ${oneLine(path, 200)}`;
}

const WORDS: Readonly<Record<Exclude<Divergence["kind"], "request">, string>> = {
  "extra-call": "The agent asked once more than was recorded.",
  "missing-call": "The agent asked less often than was recorded.",
  "not-recorded": "The recording of this exchange is not whole, so it could not be answered.",
};

function renderDivergence(divergence: Divergence, paint: Paint, width: number): string[] {
  const { kind, recorded, replayed } = divergence;
  if (kind !== "request") return [`  ${WORDS[kind]}`];
  const side = (mark: string, style: "red" | "green", value: string | null): string =>
    wrapBehind(`  ${paint(style, mark)} `, value === null ? paint("dim", "(nothing)") : paint(style, printable(value)), width);
  return [side("-", "red", recorded), side("+", "green", replayed)];
}

/** The line for the event that tells of a difference; null: it is another event. */
export function renderReplayEvent(event: RunEvent, paint: Paint, width: number): string | null {
  if (event.type !== "replay.diverged") return null;
  const heading = paint("yellow", `differs from the recording at exchange ${event.data.exchange}`);
  return [`  ${heading}${whereIn(event.data)}`, ...renderDivergence(event.data, paint, width)].join("\n");
}

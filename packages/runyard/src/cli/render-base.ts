import { baseUpdatedWords, type RunEvent } from "@runyard/sdk/contract";
import { type Paint, printable } from "./output.ts";
import { wrapBehind } from "./text.ts";

/** Lines for the event that tells of the base branch; null: it is another event. */
export function renderBaseEvent(event: RunEvent, paint: Paint, width: number): string | null {
  if (event.type !== "base.updated") return null;
  const mark = event.data.outcome === "conflicts" ? paint("yellow", "!") : paint("dim", "·");
  return wrapBehind(`  ${mark} ${paint("dim", "base")} `, printable(baseUpdatedWords(event.data)), width);
}

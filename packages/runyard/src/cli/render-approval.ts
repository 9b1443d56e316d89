import type { RunEvent } from "@runyard/sdk/contract";
import { oneLine, type Paint, printable } from "./output.ts";
import { wrapBehind } from "./text.ts";

/** A line for the events that tell of a run's approval; null: it is another event. */
export function renderApprovalEvent(event: RunEvent, paint: Paint, width: number): string | null {
  switch (event.type) {
    case "approval.requested":
      return wrapBehind(`  ${paint("yellow", "?")} `, `before it begins: ${printable(event.data.title)}`, width);
    case "result.held":
      return [
        wrapBehind(`  ${paint("yellow", "?")} `, `before it is published: ${printable(event.data.title)}`, width),
        ...event.data.files.map(({ path, pattern }) => `      ${oneLine(path)}  ${paint("dim", oneLine(pattern))}`),
        ...(event.data.count > event.data.files.length ? [`      and ${event.data.count - event.data.files.length} more`] : []),
      ].join("\n");
    case "approval.granted":
      return `  ${paint("green", `✓ approved by ${nameOf(event.data)}`)}`;
    case "approval.rejected":
      return wrapBehind(`  ${paint("red", `✗ rejected by ${nameOf(event.data)}:`)} `, printable(event.data.reason), width);
    default:
      return null;
  }
}

function nameOf({ userName, userId }: { readonly userName?: string | undefined; readonly userId: string }): string {
  return oneLine(userName ?? userId);
}

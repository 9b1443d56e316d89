import { expect, test } from "vitest";
import type { BaseOutcome, RunEvent } from "@runyard/sdk/contract";
import { paintFor } from "./output.ts";
import { renderBaseEvent } from "./render-base.ts";

test("says in a line how the base was brought in, and names files as they can be shown", () => {
  const shown = (outcome: BaseOutcome, conflicts: readonly string[]): string | null => {
    const data = { branch: "next", commit: "0123456789abcdef", before: "0", outcome, head: null, conflicts };
    return renderBaseEvent({ type: "base.updated", data } as unknown as RunEvent, paintFor({}, {}), 200);
  };
  expect(shown("merged", [])).toBe("  · base merged next (0123456789), without conflicts");
  expect(shown("conflicts", ["a.ts", "b\u001b[31m.ts"])).toBe(
    "  ! base merges next (0123456789): the agent resolves conflicts in a.ts, b\ufffd[31m.ts",
  );
  expect(renderBaseEvent({ type: "log", data: { text: "x" } } as unknown as RunEvent, paintFor({}, {}), 200)).toBeNull();
});

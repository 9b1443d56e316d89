import { expect, test } from "vitest";
import { baseWords } from "./base-words.ts";

test("names the files that conflict and both sides, and the task behind them", () => {
  const words = baseWords({ branch: "next", outcome: "conflicts", conflicts: ["a b.ts", "docs/c.md"] }, "Add a test");
  expect(words).toContain("- a b.ts\n- docs/c.md\n");
  expect(words).toContain("HEAD is what you have made, and origin/next is what came from next");
  expect(words.endsWith("\n\nWhen that is done:\n\nAdd a test")).toBe(true);
  expect(baseWords({ branch: "next", outcome: "conflicts", conflicts: ["a"] }, null)).not.toContain("When that is done");
});

test("says that files may have changed where nothing conflicts, and nothing where nothing was brought in", () => {
  expect(baseWords({ branch: "main", outcome: "merged", conflicts: [] }, "Go on")).toBe(
    "What is on main by now was brought into your working directory: files may differ from what you remember.\n\nGo on",
  );
  expect(baseWords({ branch: "main", outcome: "nothing", conflicts: [] }, "Go on")).toBe("Go on");
});

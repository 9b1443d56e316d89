import { expect, test, vi } from "vitest";
import { CliError } from "./exit-codes.ts";
import { report } from "./report.ts";

test("an error that names a file of an agent does nothing to the terminal", () => {
  const said: string[] = [];
  const write = vi.spyOn(process.stderr, "write").mockImplementation((text) => said.push(String(text)) > 0);
  try {
    expect(report(new CliError("It is in the way:\n    \u001b]52;c;ZXZpbA==\u0007a.txt", { advice: "Move \u001b[2Ja.txt" }))).toBe(1);
  } finally {
    write.mockRestore();
  }
  expect(said.join("").replaceAll("\u001b[", "")).not.toContain("\u001b");
  expect(said.join("")).toMatch(/It is in the way:\n {4}�]52;c;ZXZpbA==�a.txt\n {2}Move �\[2Ja.txt\n$/);
});

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

/** Starts a program of this repository in a Node.js that says it were of this version. */
function startIn(version: string, words: readonly string[]): { code: number | null; stdout: string; stderr: string } {
  const says = JSON.stringify(version);
  const pretend = `
    Object.defineProperty(process, "versions", { value: { ...process.versions, node: ${says} } });
    Object.defineProperty(process, "version", { value: "v" + ${says} });
  `;
  const [program = "", ...args] = words;
  const file = fileURLToPath(new URL(`../${program}`, import.meta.url));
  const argv = ["--import", `data:text/javascript,${encodeURIComponent(pretend)}`, file, ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
  return { code: status, stdout, stderr };
}

const PROGRAMS = [
  ["the program", "packages/runyard/bin/runyard.mjs", "--version"],
  ["set-up", "scripts/bootstrap.mjs", "demo"],
] as const;

test.each(PROGRAMS)("%s says plainly that Node.js is too old", (_, ...words) => {
  const { code, stdout, stderr } = startIn("20.18.3", words);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(/^Runyard needs Node\.js 20\.19 or newer; this is v?20\.18\.3\. Install a newer Node\.js .*\n$/);
});

test("the oldest version that will do is let in", () => {
  expect(startIn("20.19.0", ["packages/runyard/bin/runyard.mjs", "--version"])).toMatchObject({ code: 0, stderr: "" });
  expect(startIn("20.19.0", ["scripts/bootstrap.mjs"])).toMatchObject({ code: 2, stderr: expect.stringContaining("Usage:") });
});

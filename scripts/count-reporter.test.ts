import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../", import.meta.url));

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), "runyard-counts-"));
  const reporter = JSON.stringify(path.join(ROOT, "scripts/count-reporter.ts"));
  const config = `import { countReporter } from ${reporter};\nexport default { test: { globals: true, reporters: [countReporter()] } };\n`;
  writeFileSync(path.join(dir, "vitest.config.mts"), config);
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

/** Runs vitest, with the reporter, on test files of these contents. */
function runTests(files: Readonly<Record<string, string>>, ...args: string[]): Promise<{ code: number; lines: string[]; written: string }> {
  for (const [name, code] of Object.entries(files)) writeFileSync(path.join(dir, name), code);
  const counts = path.join(dir, "counts");
  const env = { ...process.env, RUNYARD_TEST_COUNTS: counts };
  const vitest = path.join(ROOT, "node_modules/vitest/vitest.mjs");
  return new Promise((resolve) => {
    execFile(process.execPath, [vitest, "run", "--root", dir, ...args], { env, cwd: dir }, (error, stdout) => {
      const lines = stdout.trim().split("\n");
      resolve({ code: error === null ? 0 : Number(error.code), lines, written: readFileSync(counts, "utf8") });
    });
  });
}

test("counts tests, and names the skipped ones with their reasons", async () => {
  const { code, lines, written } = await runTests({
    "a.test.mjs":
      'describe("a", () => { test("one", () => {}); test.skip("two", () => {}); test("three", (t) => t.skip("no engine")); test.todo("four"); });',
    "b.test.mjs": 'test("five", () => {});',
  });
  expect(code).toBe(0);
  expect(lines.at(-1)).toBe("2 passed, 0 failed, 3 skipped");
  expect(written).toBe("2 passed, 0 failed, 3 skipped\n");
  expect(lines.filter((line) => line.startsWith("skipped: "))).toEqual([
    "skipped: a.test.mjs > a > two",
    "skipped: a.test.mjs > a > three (no engine)",
    "skipped: a.test.mjs > a > four",
  ]);
});

test("whatever makes a run red is counted as failed", async () => {
  const { code, lines } = await runTests({
    "failing.test.mjs": 'test("one", () => { throw new Error("x"); }); test("two", () => {});',
    "broken.test.mjs": 'throw new Error("cannot be loaded");',
    "suite.test.mjs": 'describe("s", () => { beforeAll(() => { throw new Error("x"); }); test("three", () => {}); });',
    "late.test.mjs":
      'test("four", async () => { void Promise.reject(new Error("nobody caught this")); await new Promise((r) => setTimeout(r, 20)); });',
  });
  expect(code).toBe(1);
  expect(lines.at(-1)).toBe("2 passed, 4 failed, 1 skipped");
  // What failed stands at the end of a long output, where it is not cut off.
  const end = lines.slice(lines.findLastIndex((line) => line.startsWith("skipped: ")) + 1).join("\n");
  expect(end).toContain("failed: failing.test.mjs > one\n    x\n");
  expect(end).toContain("failed: broken.test.mjs\n    cannot be loaded");
  expect(end).toContain("failed: suite.test.mjs > s\n    x");
  expect(end).toContain("failed: outside of a test\n    nobody caught this");
});

test("tests that were not selected by name are counted, not named", async () => {
  const { lines } = await runTests({ "a.test.mjs": 'test("one", () => {}); test("two", () => {});' }, "-t", "two");
  expect(lines.at(-1)).toBe("1 passed, 0 failed, 1 skipped");
  expect(lines.join("\n")).not.toContain("skipped: ");
});

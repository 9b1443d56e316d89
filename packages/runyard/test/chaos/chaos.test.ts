import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../../src/sandbox/drivers.ts";

const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));
const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const unavailable = (await sandboxDriver("bwrap").probe()).reason;

/** Kills servers in a process of its own; a failing seed is reproduced by `npm run chaos -- --kills N --seed S`. */
function chaos(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ["--import", "tsx", "--conditions=runyard-source", MAIN, ...args],
      { maxBuffer: 16 * 1024 * 1024 },
      (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === "number" ? error.code : error === null ? 0 : 1, stdout, stderr });
      },
    );
  });
}

describe.skipIf(unavailable !== null)(unavailable === null ? "killing servers" : `killing servers cannot be tested: ${unavailable}`, () => {
  test(`${full ? 120 : 6} kills lose nothing and double nothing`, async () => {
    const { code, stdout, stderr } = await chaos("--kills", full ? "120" : "6", "--seed", "7");
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({ differences: 0 });
  }, 1_200_000);

  test.skipIf(!full)(
    full ? "nor does killing what the server stands on" : "nor does killing what the server stands on (npm run test:full)",
    async () => {
      const { code, stdout, stderr } = await chaos("--kills", "60", "--seed", "11", "--others");
      expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
      expect(JSON.parse(stdout)).toMatchObject({
        differences: 0,
        killsAt: { postgres: expect.any(Number) as number, spawner: expect.any(Number) as number, gateway: expect.any(Number) as number },
      });
    },
    1_200_000,
  );

  // Each breaks one rule of the protocol, and must be caught: without that, the test above proves nothing. (That a write is
  // fenced by its owner is a matter of the random commands: here a server sees that a run is another one's before it writes.)
  describe.skipIf(!full)(full ? "a broken rule is caught" : "a broken rule is caught (npm run test:full)", () => {
    test.each([
      ["append", 80],
      ["cursor", 20],
    ])(
      "%s",
      async (rule, kills) => {
        const { code, stderr } = await chaos("--kills", String(kills), "--seed", "5", "--break", rule);
        expect(code, stderr).toBe(1);
        expect(stderr).toContain("DIFFERENCE");
        const kept = /Everything is kept in (\S+)/.exec(stderr)?.[1];
        if (kept) rmSync(kept, { recursive: true, force: true });
      },
      600_000,
    );
  });
});

import { test } from "vitest";

/** Whether every test is run (`npm run test:full`), and not only what is through in a few minutes. */
export const isFull = Boolean(process.env["RUNYARD_TEST_FULL"]);

/** A test of the full suite; elsewhere it is skipped, and its name says where it is run. `timeout` in milliseconds. */
export function fullTest(name: string, body: () => Promise<void> | void, timeout?: number): void {
  // oxlint-disable-next-line vitest/expect-expect -- what is expected is in the body
  test.skipIf(!isFull)(isFull ? name : `${name} (npm run test:full)`, body, timeout);
}

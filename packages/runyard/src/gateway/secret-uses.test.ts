import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createSecretUses } from "./secret-uses.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const use = { secret: "TOKEN", host: "api.example" };

test("the first use is written at once, those after it together, and every one is counted", () => {
  const written: string[] = [];
  const uses = createSecretUses((runId, { secret, host, requests }) => written.push(`${runId} ${secret} ${host} ${requests}`));
  for (let n = 0; n < 10; n += 1) uses.count("a", use);
  uses.count("b", use);
  expect(written.splice(0)).toEqual(["a TOKEN api.example 1", "b TOKEN api.example 1"]);
  vi.advanceTimersByTime(60_000);
  expect(written.splice(0)).toEqual(["a TOKEN api.example 9"]);
  expect(vi.getTimerCount()).toBe(0);
  // After a while of silence it is as at first; the end of a connection writes what there is, of its run.
  for (const runId of ["a", "a", "b", "b", "b"]) uses.count(runId, use);
  uses.settle("b");
  expect(written.splice(0)).toEqual(["a TOKEN api.example 1", "b TOKEN api.example 1", "b TOKEN api.example 2"]);
});

test("a thousand connections do not fill the log", () => {
  const written: number[] = [];
  const uses = createSecretUses((_, { requests }) => written.push(requests));
  for (let n = 0; n < 1_000; n += 1) {
    uses.count("a", use);
    uses.settle("a");
  }
  vi.advanceTimersByTime(60_000);
  expect(written.length).toBeLessThan(60);
  expect(written.reduce((sum, requests) => sum + requests)).toBe(1_000);
});

import { expect, test } from "vitest";
import { keptFor } from "./status.ts";

test("one answer serves all who ask within its time", async () => {
  let [now, asked] = [1_000, 0];
  const ask = keptFor(
    100,
    () => now,
    async () => (asked += 1),
  );
  expect(await Promise.all([ask(), ask()])).toEqual([1, 1]);
  now += 99;
  expect(await ask()).toBe(1);
  now += 1;
  expect(await ask()).toBe(2);
  // A clock that was put back must not keep an answer for years.
  now = 500;
  expect(await ask()).toBe(3);
});

test("a failure is not kept", async () => {
  let asked = 0;
  const ask = keptFor(
    100,
    () => 0,
    async () => {
      asked += 1;
      if (asked === 1) throw new Error("not now");
      return asked;
    },
  );
  await expect(ask()).rejects.toThrow("not now");
  expect(await ask()).toBe(2);
});

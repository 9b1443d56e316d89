import { expect, test } from "vitest";
import { admit, defaultMemoryBudget, LEAST_MEMORY_BYTES, mayTakeAny, type MemoryRoom, MOST_OVERTAKEN, waitsForMemory } from "./memory.ts";

const GIB = 1024 ** 3;
const room = (budget: number, held: number, waiting: MemoryRoom["waiting"] = null): MemoryRoom => ({
  budgetBytes: budget * GIB,
  heldBytes: held * GIB,
  waiting,
});
const big = (overtaken: number) => ({ id: "big", memoryBytes: 16 * GIB, overtaken });

test("a tenth of the memory, and at least one GB, is left to the machine; the smallest sandbox always fits", () => {
  expect(defaultMemoryBudget(20 * GIB)).toBe(18 * GIB);
  expect(defaultMemoryBudget(8 * GIB)).toBe(7 * GIB);
  expect(defaultMemoryBudget(2 * GIB)).toBe(LEAST_MEMORY_BYTES);
});

test("what runs in hand have is not given away again", () => {
  expect(admit(room(18, 4))).toEqual({ roomBytes: 14 * GIB, first: null, passed: null });
  expect(admit(room(18, 20)).roomBytes).toBe(0);
  // Alone the smallest fits, however little there is.
  expect(admit(room(1, 0)).roomBytes).toBe(LEAST_MEMORY_BYTES);
  expect(admit(room(1, 2)).roomBytes).toBe(0);
});

test("smaller runs go past one that does not fit, ten times", () => {
  expect(admit(room(18, 4, big(0)))).toEqual({ roomBytes: 14 * GIB, first: null, passed: "big" });
  expect(admit(room(18, 4, big(MOST_OVERTAKEN - 1))).passed).toBe("big");
  expect(admit(room(18, 4, big(MOST_OVERTAKEN)))).toEqual({ roomBytes: 0, first: null, passed: null });
});

test("one that is due is taken up as soon as it fits, and others only beside it", () => {
  expect(admit(room(18, 2, big(MOST_OVERTAKEN)))).toEqual({ roomBytes: 0, first: "big", passed: null });
  expect(admit(room(24, 4, big(MOST_OVERTAKEN)))).toEqual({ roomBytes: 4 * GIB, first: "big", passed: null });
});

test("there is nothing to look for where not even the smallest fits", () => {
  expect(mayTakeAny(admit(room(18, 16)))).toBe(true);
  expect(mayTakeAny(admit(room(18, 17)))).toBe(false);
  expect(mayTakeAny(admit(room(18, 2, big(MOST_OVERTAKEN))))).toBe(true);
});

test("a run waits for memory where no runner could take it up", () => {
  const small = { id: "small", memoryBytes: 2 * GIB };
  const large = { id: "big", memoryBytes: 16 * GIB };
  expect(waitsForMemory(small, [])).toBe(false);
  expect(waitsForMemory(small, [room(18, 17), room(18, 4)])).toBe(false);
  expect(waitsForMemory(small, [room(18, 17)])).toBe(true);
  expect(waitsForMemory(large, [room(18, 4, big(0))])).toBe(true);
  expect(waitsForMemory(large, [room(18, 2, big(MOST_OVERTAKEN))])).toBe(false);
  expect(waitsForMemory(small, [room(18, 2, big(MOST_OVERTAKEN))])).toBe(true);
  expect(waitsForMemory({ ...small, id: null }, [room(18, 4, big(MOST_OVERTAKEN))])).toBe(true);
});

import { limitsSchema, SANDBOX_TYPES } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { SANDBOX_LIMITS, whyNotGranted } from "./limits.ts";

const GIB = 1024 ** 3;

describe("sandbox types", () => {
  test.each([
    ["standard", 2, 2, 10],
    ["high-memory", 16, 4, 20],
    ["high-cpu", 4, 8, 10],
    ["gpu", 8, 4, 20],
  ] as const)("%s has %d GB of memory, %d processors, %d GB of disk", (type, memory, cpus, disk) => {
    expect(limitsSchema.parse(SANDBOX_LIMITS[type])).toEqual({ memoryBytes: memory * GIB, cpus, pids: 1024, diskBytes: disk * GIB });
  });
});

describe("a machine that is too small", () => {
  test("is told, with what it could do instead", () => {
    expect(whyNotGranted("high-memory", 8 * GIB)).toBe(
      "A sandbox of the type high-memory has 16 GB of memory, and this machine has 8 GB for runs. Possible here: standard, high-cpu.",
    );
    expect(whyNotGranted("high-cpu", 3.95 * GIB)).toMatch(/has 3\.9 GB for runs\. Possible here: standard\./);
  });

  test("is never too small for standard, and exactly enough is enough", () => {
    expect(whyNotGranted("standard", 1)).toBeNull();
    expect(SANDBOX_TYPES.map((type) => whyNotGranted(type, 16 * GIB))).toEqual([null, null, null, expect.any(String)]);
  });

  test("gives no graphics processors, however large it is", () => {
    expect(whyNotGranted("gpu", 64 * GIB)).toBe(
      "A sandbox of the type gpu has a graphics processor (NVIDIA T4), and no sandbox can be given one yet. Possible here: standard, high-memory, high-cpu.",
    );
  });
});

import { limitsSchema } from "@runyard/sdk/contract";
import { expect, test } from "vitest";
import { STANDARD_LIMITS } from "./limits.ts";

test("the standard sandbox has 2 GB, 2 processors, 10 GB of disk", () => {
  expect(limitsSchema.parse(STANDARD_LIMITS)).toEqual({ memoryBytes: 2_147_483_648, cpus: 2, pids: 1024, diskBytes: 10_737_418_240 });
});

import { expect, test } from "vitest";
import { floorInForce, floorsKept, type Kept, keptLimits, missingOf, whyBelowFloor } from "./isolation-floor.ts";

const HARD: Kept = {
  isolation: { filesystem: "hard", network: "hard", processes: "hard", syscalls: "hard" },
  limits: { memory: true, cpus: true, pids: true },
};
const NONE: Kept = {
  isolation: { filesystem: "none", network: "none", processes: "none", syscalls: "none" },
  limits: { memory: false, cpus: false, pids: false },
};
const unlimited: Kept = { ...HARD, limits: { ...HARD.limits, memory: false } };
const unfiltered: Kept = { ...HARD, isolation: { ...HARD.isolation, syscalls: "none" } };

test("the highest floor that anybody says holds, and a run lowers none", () => {
  expect(floorInForce({ organization: "sandbox", run: "strict" }, "bwrap")).toEqual({ floor: "strict", from: "run" });
  expect(floorInForce({ organization: "strict", agent: "sandbox", run: "none" }, "bwrap")).toEqual({
    floor: "strict",
    from: "organization",
  });
  expect(floorInForce({ organization: "none", agent: "sandbox" }, "process")).toEqual({ floor: "sandbox", from: "agent" });
});

test("where nobody says anything, files and network are held, unless a driver without isolation was chosen", () => {
  expect(floorInForce({ organization: null }, "bwrap")).toEqual({ floor: "sandbox", from: "default" });
  expect(floorInForce({}, "process")).toEqual({ floor: "none", from: "default" });
  expect(floorInForce({ organization: "sandbox" }, "process")).toEqual({ floor: "sandbox", from: "organization" });
});

test("what is missing is named, with what to do about it", () => {
  expect(whyBelowFloor({ floor: "strict", from: "run" }, HARD)).toBeNull();
  expect(whyBelowFloor({ floor: "none", from: "default" }, NONE)).toBeNull();
  expect(whyBelowFloor({ floor: "sandbox", from: "default" }, NONE)).toBe(
    "The isolation floor sandbox asks for isolated files, an isolated network, which the sandbox would not have. Use the sandbox driver bwrap; `runyard doctor` says what it needs.",
  );
  expect(whyBelowFloor({ floor: "strict", from: "organization" }, unlimited)).toBe(
    "The isolation floor strict (of the organization) asks for limited memory, which the sandbox would not have. Start the server in a control group of its own: systemd-run --user --scope -p Delegate=yes runyard up",
  );
  expect(whyBelowFloor({ floor: "strict", from: "run" }, unfiltered)).toMatch(/filtered system calls, which.*\. Use a kernel with/);
  const networkOnly: Kept = { ...HARD, isolation: { ...HARD.isolation, network: "none" } };
  const processesOnly: Kept = { ...HARD, isolation: { ...HARD.isolation, processes: "none" } };
  for (const kept of [networkOnly, processesOnly])
    expect(whyBelowFloor({ floor: "strict", from: "run" }, kept)).toMatch(/Use the sandbox driver bwrap/);
  for (const limits of [{ cpus: false }, { pids: false }])
    expect(whyBelowFloor({ floor: "strict", from: "run" }, { ...HARD, limits: { ...HARD.limits, ...limits } })).toMatch(/control group/);
});

test("a machine keeps the floors of which nothing is missing", () => {
  expect(floorsKept(HARD)).toEqual(["none", "sandbox", "strict"]);
  expect(floorsKept(unlimited)).toEqual(["none", "sandbox"]);
  expect(floorsKept(NONE)).toEqual(["none"]);
  expect(missingOf("strict", unlimited)).toEqual(["limited memory"]);
});

test("a limit that was not granted is not kept", () => {
  expect(keptLimits({ memoryBytes: 1, cpus: null, pids: 1, diskBytes: null })).toEqual({ memory: true, cpus: false, pids: true });
  expect(keptLimits({ memoryBytes: null, cpus: 1, pids: null, diskBytes: 1 })).toEqual({ memory: false, cpus: true, pids: false });
});

import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readResourceUsage } from "./cgroup.ts";
import { NO_LIMITS } from "./cgroup-grant.ts";
import { makeCgroups } from "./cgroup-make.ts";
import { readUsage } from "./cgroup-usage.ts";
import { killRunDirectory } from "./kill.ts";
import { type Lab, openLab, waitFor } from "./testing/lab.ts";

const MIB = 1 << 20;
const NOTHING = { cpuMs: null, memoryBytes: null, memoryPeakBytes: null, processes: null, threads: null };

describe("what control groups say that is used", () => {
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(path.join(tmpdir(), "runyard-usage-"));
  });
  afterAll(() => rmSync(root, { recursive: true }));

  const group = (name: string, files: Readonly<Record<string, string>>): string => {
    const dir = path.join(root, name);
    mkdirSync(dir, { recursive: true });
    for (const [file, text] of Object.entries(files)) writeFileSync(path.join(dir, file), text);
    return dir;
  };

  it("is read of version 1, where each controller has a group of its own", () => {
    const groups = [
      group("v1/pids", { "cgroup.procs": "12\n13\n14\n", tasks: "12\n13\n14\n15\n" }),
      group("v1/memory", { "cgroup.procs": "12\n13\n14\n", "memory.usage_in_bytes": "4096\n", "memory.max_usage_in_bytes": "8192\n" }),
      group("v1/cpu", { "cpu.stat": "nr_periods 2\nnr_throttled 0\nthrottled_time 0\n" }),
      group("v1/cpuacct", { "cpuacct.usage": "1234567890\n" }),
    ];
    expect(readUsage(groups)).toEqual({ cpuMs: 1_235, memoryBytes: 4_096, memoryPeakBytes: 8_192, processes: 3, threads: 4 });
  });

  it("is read of version 2, where one group has everything", () => {
    const files = {
      "cgroup.procs": "12\n",
      "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n",
      "memory.current": "4096\n",
      "memory.peak": "8192\n",
      "cgroup.threads": "12\n15\n16\n",
    };
    const whole = { cpuMs: 2_500, memoryBytes: 4_096, memoryPeakBytes: 8_192, processes: 1, threads: 3 };
    expect(readUsage([group("v2", files)])).toEqual(whole);
    // An older kernel tells no peak; a controller that was not handed on has no files.
    const { "memory.peak": _, ...older } = files;
    expect(readUsage([group("v2-older", older)])).toEqual({ ...whole, memoryPeakBytes: null });
    const { "memory.current": __, ...without } = older;
    expect(readUsage([group("v2-without", without)])).toEqual({ ...whole, memoryBytes: null, memoryPeakBytes: null });
  });

  it("is nothing, and not 0, where there is no group or nobody can read it", () => {
    expect(readUsage([])).toEqual(NOTHING);
    expect(readUsage([path.join(root, "gone")])).toEqual(NOTHING);
    expect(readUsage([group("strange", { "memory.current": "max\n", "cpu.stat": "" })])).toEqual(NOTHING);
    expect(readUsage([group("empty", { "cgroup.procs": "" })])).toEqual({ ...NOTHING, processes: 0 });
    expect(readResourceUsage(root)).toEqual(NOTHING);
  });
});

describe("what a command uses", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await openLab("usage");
  });
  afterAll(() => lab.close());

  it("is counted while it lives, and kept when it and its groups are gone", async ({ skip }) => {
    const { join, granted } = makeCgroups(`test-${process.pid}-usage`, { ...NO_LIMITS, memoryBytes: 256 * MIB, cpus: 1, pids: 100 });
    if (granted.memoryBytes === null || granted.cpus === null) skip("this machine lets this user make no control groups");
    // Has 40 MiB in hand, and then turns round and round.
    const script = `const held = Buffer.alloc(40 * ${MIB}, 1); require("node:fs").writeFileSync("held", "x"); for (;;) held[0] += 1;`;
    const dir = await lab.start({ argv: [process.execPath, "-e", script], env: {}, args: [], join });
    const before = await waitFor(() => {
      const usage = readResourceUsage(dir);
      return (usage.memoryBytes ?? 0) > 40 * MIB && (usage.cpuMs ?? 0) > 0 ? usage : null;
    });
    expect(before.memoryPeakBytes).toBeGreaterThanOrEqual(40 * MIB);
    expect(before.memoryPeakBytes).toBeLessThanOrEqual(256 * MIB);
    expect(before.processes).toBeGreaterThanOrEqual(2);
    expect(before.threads).toBeGreaterThan(before.processes ?? 0);
    const later = await waitFor(() => {
      const usage = readResourceUsage(dir);
      return (usage.cpuMs ?? 0) > (before.cpuMs ?? 0) ? usage : null;
    });
    await killRunDirectory(dir);
    const end = readResourceUsage(dir);
    expect(end.cpuMs).toBeGreaterThanOrEqual(later.cpuMs ?? 0);
    expect(end.memoryPeakBytes).toBeGreaterThanOrEqual(40 * MIB);
    expect(end).toMatchObject({ processes: 0, threads: 0 });
    expect(JSON.parse(readFileSync(path.join(dir, "usage.json"), "utf8"))).toEqual(end);
    expect(statSync(path.join(dir, "usage.json")).mode & 0o777).toBe(0o600);
    await killRunDirectory(dir);
    expect(readResourceUsage(dir)).toEqual(end);
  });
});

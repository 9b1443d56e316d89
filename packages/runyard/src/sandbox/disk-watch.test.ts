import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import type { DiskUsage } from "./disk-usage.ts";
import { type DiskWatch, diskLimit, watchDisk } from "./disk-watch.ts";
import { waitFor } from "./testing/lab.ts";

const MIB = 1 << 20;
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), "runyard-watch-disk-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

function watch(limit: DiskUsage | null): { disk: DiskWatch; full: DiskUsage[] } {
  const full: DiskUsage[] = [];
  const disk = watchDisk({ dirs: [dir], holders: () => [], limit, onFull: (usage) => full.push(usage) });
  onTestFinished(disk.close);
  return { disk, full };
}

async function firstLook(disk: DiskWatch): Promise<number> {
  for (;;) {
    const bytes = await disk.read(10_000);
    if (bytes !== null) return bytes;
  }
}

test("looks once, and without a reason not again before its time", async () => {
  writeFileSync(path.join(dir, "one.bin"), Buffer.alloc(100 << 10, 1));
  const { disk, full } = watch(null);
  expect(await disk.read(10_000)).toBeGreaterThanOrEqual(100 << 10);
  expect(await disk.read(10_000)).toBeNull();
  expect(full).toEqual([]);
});

test("keeps nobody waiting: what was not found in time comes with a later answer", async () => {
  for (let n = 0; n < 2_000; n += 1) writeFileSync(path.join(dir, `${n}.bin`), "x");
  const { disk } = watch(null);
  let found = await disk.read(0);
  expect(found).toBeNull();
  while (found === null) found = await disk.read(1);
  expect(found).toBeGreaterThanOrEqual(2_000);
});

// Until it is noticed: what others remove from the disk meanwhile hides what is written to it.
test("notices at once that there is too much, long before the next look without a reason", async () => {
  const { disk, full } = watch({ bytes: 32 * MIB, files: 1_000 });
  expect(await firstLook(disk)).toBeLessThan(MIB);
  const file = path.join(dir, "big.bin");
  await waitFor(() => {
    appendFileSync(file, Buffer.alloc(MIB, 1));
    return full.length > 0;
  });
  expect(full).toHaveLength(1);
  expect(full[0]?.bytes).toBeGreaterThan(32 * MIB);
});

test("notices too many files, though they take next to nothing", async () => {
  const { disk, full } = watch({ bytes: 1_000 * MIB, files: 300 });
  await firstLook(disk);
  let n = 0;
  await waitFor(() => {
    for (const end = n + 100; n < end; n += 1) writeFileSync(path.join(dir, `${n}`), "");
    return full.length > 0;
  });
  expect(full[0]?.files).toBe(301);
  expect(full[0]?.bytes).toBeLessThan(MIB);
});

test("a limit of bytes is one of files too", () => {
  expect(diskLimit(10 * 1024 ** 3)).toEqual({ bytes: 10 * 1024 ** 3, files: 2_621_440 });
});

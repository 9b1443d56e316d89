import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { diskGauge, diskUsage } from "./disk-usage.ts";

const KIB = 1 << 10;
let root: string;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), "runyard-disk-"));
});
afterEach(() => rmSync(root, { recursive: true }));

const write = (name: string, bytes: number): string => {
  const file = path.join(root, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, Buffer.alloc(bytes, 1));
  return file;
};
const usage = (...names: string[]): Promise<number> =>
  diskUsage(
    names.map((name) => path.join(root, name)),
    new AbortController().signal,
  );

describe("what directories take on the disk", () => {
  it("is all below them, each file once, and nothing behind a symbolic link", async () => {
    const file = write("a/one/two.bin", 300 * KIB);
    write("b/three.bin", 100 * KIB);
    write("elsewhere/large.bin", 900 * KIB);
    linkSync(file, path.join(root, "a/again.bin"));
    linkSync(file, path.join(root, "b/again.bin"));
    symlinkSync(path.join(root, "elsewhere"), path.join(root, "a/link"));
    const [a, both, elsewhere] = [await usage("a"), await usage("a", "b"), await usage("elsewhere")];
    expect(a).toBeGreaterThanOrEqual(300 * KIB);
    expect(a).toBeLessThan(400 * KIB);
    expect(both - a).toBeGreaterThanOrEqual(100 * KIB);
    expect(both - a).toBeLessThan(200 * KIB);
    expect(elsewhere).toBeGreaterThanOrEqual(900 * KIB);
  });

  it("is what files take, not how long they are", async () => {
    truncateSync(write("a/sparse.bin", 1), 64 << 20);
    expect(await usage("a")).toBeLessThan(1 << 20);
  });

  it("is 0 where there is nothing", async () => {
    expect(await usage("nowhere")).toBe(0);
  });

  it("is not looked for any longer than somebody wants to know", async () => {
    write("a/one.bin", 1);
    await expect(diskUsage([root], AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
  });
});

describe("a gauge", () => {
  it("looks once, and not again before its time", async () => {
    write("a/one.bin", 100 * KIB);
    const gauge = diskGauge([root]);
    expect(await gauge.read(10_000)).toBeGreaterThanOrEqual(100 * KIB);
    expect(await gauge.read(10_000)).toBeNull();
    gauge.close();
  });

  it("keeps nobody waiting: what was not found in time comes with a later answer", async () => {
    for (let n = 0; n < 200; n += 1) write(`a/${n}.bin`, 1);
    const gauge = diskGauge([root]);
    let found = await gauge.read(0);
    expect(found).toBeNull();
    while (found === null) found = await gauge.read(1);
    expect(found).toBeGreaterThanOrEqual(200);
    gauge.close();
  });
});

import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { type DiskQuestion, type DiskUsage, diskUsage } from "./disk-usage.ts";
import { removeTree } from "./remove-tree.ts";
import { digDown } from "./testing/dig-down.ts";

const KIB = 1 << 10;
let root: string;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), "runyard-disk-"));
});
afterEach(() => removeTree(root));

const write = (name: string, bytes: number): string => {
  const file = path.join(root, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, Buffer.alloc(bytes, 1));
  return file;
};
const usage = async (...names: string[]): Promise<number> => (await look(names)).bytes;
const look = (names: readonly string[], more: Partial<DiskQuestion> = {}): Promise<DiskUsage> =>
  diskUsage({ paths: names.map((name) => path.join(root, name)), signal: new AbortController().signal, ...more });

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
    await expect(look(["a"], { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
  });

  it("counts what has a name that is no text, and what lies deeper than a path can be long", async () => {
    mkdirSync(path.join(root, "a"));
    const file = Buffer.concat([Buffer.from(`${path.join(root, "a")}/`), Buffer.from([0xff, 0xfe, 0x80])]);
    writeFileSync(file, Buffer.alloc(100 * KIB, 1));
    digDown(path.join(root, "a"), { levels: 40, last: "deep", bytes: 300_000 });
    const { bytes, files } = await look(["a"]);
    expect(files).toBe(43);
    expect(bytes).toBeGreaterThanOrEqual(100 * KIB + 300_000);
    removeTree(path.join(root, "a"));
    expect(existsSync(path.join(root, "a"))).toBe(false);
  });

  it("counts what was removed and is still open, where it is known by whom", async () => {
    const file = write("a/held.bin", 400 * KIB);
    const held = openSync(file, "r");
    onTestFinished(() => closeSync(held));
    rmSync(file);
    expect(await usage("a")).toBeLessThan(100 * KIB);
    const { bytes, files } = await look(["a"], { holders: () => [process.pid, 2 ** 22 + 1] });
    expect([bytes >= 400 * KIB, files]).toEqual([true, 2]);
    expect((await look([], { holders: () => [process.pid] })).bytes).toBe(0); // of another disk, as far as it knows
  });

  it("is looked for no further than matters", async () => {
    for (let n = 0; n < 20; n += 1) write(`a/${n}.bin`, 8 * KIB);
    expect(await look(["a"], { enough: { bytes: Infinity, files: 5 } })).toMatchObject({ files: 6 });
    const { files } = await look(["a"], { enough: { bytes: 20 * KIB, files: Infinity } });
    expect(files).toBeLessThan(10);
  });
});

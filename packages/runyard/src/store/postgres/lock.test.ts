import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { withLock } from "./lock.ts";
import { nameProcess, isNamedAlive } from "./process.ts";
import { firstLineOf, moduleUrl, outputOf, startNode } from "./testing.ts";

let root: string;
let dir: string;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), "runyard-lock-"));
  dir = path.join(root, "lock");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

async function addOne(file: string): Promise<void> {
  const seen = Number(readFileSync(file, "utf8"));
  await wait(Math.random() * 2);
  writeFileSync(file, String(seen + 1));
}

test("work under the lock is done one after another, and without it is not", async () => {
  const [locked, free] = [path.join(root, "locked"), path.join(root, "free")];
  for (const file of [locked, free]) writeFileSync(file, "0");
  const times = Array.from({ length: 12 }, (_, index) => index);
  await Promise.all(times.map(() => withLock(dir, () => addOne(locked))));
  await Promise.all(times.map(() => addOne(free)));
  expect(readFileSync(locked, "utf8")).toBe("12");
  expect(Number(readFileSync(free, "utf8"))).toBeLessThan(12);
});

test("several processes never hold it at once", async () => {
  const file = path.join(root, "count");
  writeFileSync(file, "0");
  const program = `
    import { readFileSync, writeFileSync } from "node:fs";
    import { setTimeout as wait } from "node:timers/promises";
    import { withLock } from ${JSON.stringify(moduleUrl("lock.ts"))};
    for (let turn = 0; turn < 15; turn += 1) {
      await withLock(${JSON.stringify(dir)}, async () => {
        const seen = Number(readFileSync(${JSON.stringify(file)}, "utf8"));
        await wait(1);
        writeFileSync(${JSON.stringify(file)}, String(seen + 1));
      });
    }`;
  await Promise.all([1, 2, 3].map(() => outputOf(startNode(program))));
  expect(readFileSync(file, "utf8")).toBe("45");
  expect(readdirSync(dir)).toEqual(["45"]);
});

test("a holder that is killed loses it", async () => {
  const child = startNode(`
    import { withLock } from ${JSON.stringify(moduleUrl("lock.ts"))};
    setInterval(() => {}, 1000);
    await withLock(${JSON.stringify(dir)}, () => { console.log("held"); return new Promise(() => {}); });`);
  await firstLineOf(child);
  let got = false;
  const mine = withLock(dir, () => Promise.resolve((got = true)));
  await wait(100);
  expect(got).toBe(false);
  child.kill("SIGKILL");
  await mine;
  expect(got).toBe(true);
});

test("a stranger that got the pid of a dead holder holds nothing", async () => {
  const identity = nameProcess(process.pid) ?? "";
  expect(isNamedAlive(identity)).toBe(true);
  const stranger = identity.replace(/ \d+/, " 1");
  expect(isNamedAlive(stranger)).toBe(false);
  mkdirSync(dir);
  writeFileSync(path.join(dir, "7"), stranger);
  expect(await withLock(dir, () => Promise.resolve("mine"))).toBe("mine");
  expect(readdirSync(dir)).toEqual(["8"]);
});

test("it is given back when the work fails", async () => {
  await expect(withLock(dir, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await withLock(dir, () => Promise.resolve("mine"))).toBe("mine");
});

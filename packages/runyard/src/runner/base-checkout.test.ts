import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { baseId, becomeBase, findBase } from "./base-checkout.ts";

const COMMIT = "a".repeat(40);

function openHome() {
  const root = mkdtempSync(path.join(tmpdir(), "runyard-bases-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const home = { root, basesDir: path.join(root, "bases"), runsDir: path.join(root, "runs") };
  const checkOut = (run: string): string => {
    const workspace = path.join(home.runsDir, run, "1", "workspace");
    mkdirSync(path.join(workspace, ".git"), { recursive: true });
    for (const file of [".git/index", "file"]) writeFileSync(path.join(workspace, file), run);
    return workspace;
  };
  return { ...home, checkOut };
}

test("of two checkouts of a commit the first becomes its base; the second is out of its place at once, since a server may be killed while it is removed", async () => {
  const home = openHome();
  const of = { cachePath: "/cache", commit: COMMIT };
  const [first, second] = [home.checkOut("run_first"), home.checkOut("run_second")];
  await becomeBase(home, first, { ...of, said: "" });
  const removed = becomeBase(home, second, { ...of, said: "" });
  expect(readdirSync(second)).toEqual([]);
  await removed;
  expect(readdirSync(path.dirname(second))).toEqual(["workspace"]);
  const base = findBase(home, of);
  expect(readFileSync(path.join(home.root, base?.tree ?? "", "file"), "utf8")).toBe("run_first");
  expect(existsSync(first)).toBe(true);
});

test("a checkout of before the machine was started again is none that others lie upon: it may never have come to the disk", async () => {
  const home = openHome();
  const of = { cachePath: "/cache", commit: COMMIT };
  await becomeBase(home, home.checkOut("run_before"), { ...of, said: "" });
  const { id = "" } = findBase(home, of) ?? {};
  renameSync(path.join(home.basesDir, id), path.join(home.basesDir, baseId(of, "another boot")));
  expect(findBase(home, of)).toBeNull();
  await becomeBase(home, home.checkOut("run_after"), { ...of, said: "" });
  expect([findBase(home, of)?.id, readdirSync(home.basesDir).length]).toEqual([id, 2]);
});

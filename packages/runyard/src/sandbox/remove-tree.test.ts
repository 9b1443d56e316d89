import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it } from "vitest";
import { removeTree } from "./remove-tree.ts";
import { digDown } from "./testing/dig-down.ts";

it("a tree is removed, also where nobody may write in it, and never what its links lead to", () => {
  const root = mkdtempSync(path.join(tmpdir(), "runyard-tree-"));
  const [tree, outside] = [path.join(root, "tree"), path.join(root, "outside")];
  for (const dir of [path.join(tree, "locked/deeper"), outside]) mkdirSync(dir, { recursive: true });
  writeFileSync(path.join(tree, "locked/deeper/file"), "x", { mode: 0o400 });
  writeFileSync(path.join(outside, "file"), "x");
  symlinkSync(outside, path.join(tree, "locked/link"));
  for (const dir of ["locked/deeper", "locked"]) chmodSync(path.join(tree, dir), 0o500);
  removeTree(tree);
  expect(existsSync(tree)).toBe(false);
  expect(existsSync(path.join(outside, "file"))).toBe(true);
  removeTree(tree);
  rmSync(root, { recursive: true });
});

it("a tree is removed that is deeper than a path can be long, with links and locked directories on the way", () => {
  const root = mkdtempSync(path.join(tmpdir(), "runyard-tree-"));
  const tree = path.join(root, "tree");
  mkdirSync(tree);
  digDown(tree, { levels: 60, last: "file", bytes: 10 });
  chmodSync(path.join(tree, ...Array<string>(9).fill("d".repeat(200))), 0o500);
  symlinkSync(tree, path.join(tree, "link"));
  expect(() => rmSync(tree, { recursive: true })).toThrow("ENAMETOOLONG"); // the control
  removeTree(tree);
  expect(readdirSync(root)).toEqual([]);
  rmSync(root, { recursive: true });
});

import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it } from "vitest";
import { removeTree } from "./remove-tree.ts";

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

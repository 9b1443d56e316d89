import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { RunPermission, SandboxDriverName } from "@runyard/sdk/contract";
import { homeAt } from "../home.ts";
import { sandboxDriver } from "../sandbox/drivers.ts";
import type { RunRow } from "../store/run-row.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs } from "./directories.ts";
import { repositoriesInside, repositoryMounts } from "./repository-places.ts";

const root = mkdtempSync(path.join(tmpdir(), "runyard-places-"));
const home = homeAt(root);
afterAll(() => rmSync(root, { recursive: true, force: true }));

const base = { repositoryUrl: "/src", branch: "main", baseCommit: "a".repeat(40) };
const ctx = { home, driver: sandboxDriver } as Pick<RunnerContext, "home" | "driver">;
const cachePath = path.join(root, "cache-of-lib");
const dirs = attemptDirs(home, { id: "run_1", attempt: 2 });
mkdirSync(cachePath);
for (const name of ["lib", "docs"]) mkdirSync(path.join(dirs.repositories, name), { recursive: true });

function rowOf(driver: SandboxDriverName, permissions?: readonly RunPermission[]): RunRow {
  const repositories = [
    { ...base, name: "lib", access: "write" },
    { ...base, name: "docs", access: "read" },
    { ...base, name: "not-made-yet", access: "write" },
  ];
  const state = { format: 1, repositories: { lib: { cachePath }, docs: { cachePath: path.join(root, "gone") } } };
  return {
    id: "run_1",
    attempt: 2,
    state,
    spec: { sandboxDriver: driver, repositories, ...(permissions && { permissions }) },
  } as unknown as RunRow;
}

describe("the further repositories of an attempt", () => {
  const lib = { source: path.join(dirs.repositories, "lib"), target: "/repositories/lib" };
  const docs = { source: path.join(dirs.repositories, "docs"), target: "/repositories/docs", mode: "ro" };
  const cache = { source: cachePath, target: cachePath, mode: "ro" };

  test("lie beside the workspace in a sandbox: what is there, as far as it may be changed, with the caches that are there", () => {
    expect(repositoryMounts(ctx, rowOf("bwrap"))).toEqual([{ ...lib, mode: "rw" }, cache, docs]);
    expect(repositoriesInside(ctx, rowOf("bwrap"))).toEqual(["/repositories/lib", "/repositories/docs", "/repositories/not-made-yet"]);
  });

  test("cannot be changed by a run that may not write", () => {
    expect(repositoryMounts(ctx, rowOf("bwrap", ["read"]))).toEqual([{ ...lib, mode: "ro" }, cache, docs]);
  });

  test("are where they are, without a sandbox", () => {
    expect(repositoryMounts(ctx, rowOf("process"))[0]).toEqual({ source: lib.source, target: lib.source, mode: "rw" });
  });
});

import { lstatSync } from "node:fs";
import path from "node:path";
import type { FurtherRepository } from "@runyard/sdk/contract";
import type { Mount } from "../sandbox/driver.ts";
import { permissionsOf, type RunRow } from "../store/run-row.ts";
import { knownState } from "./attempt-state.ts";
import type { RunnerContext } from "./context.ts";
import { attemptDirs, repositoriesBeside } from "./directories.ts";

/** The repositories that a run has beside its first one. */
export function furtherOf(row: Pick<RunRow, "spec">): readonly FurtherRepository[] {
  return row.spec.repositories ?? [];
}

/** Where the attempt has a further repository, on the host. */
export function repositoryDir(ctx: Pick<RunnerContext, "home">, row: RunRow, name: string): string {
  return path.join(attemptDirs(ctx.home, row).repositories, name);
}

/** Where what runs in the sandbox finds it, and with a driver that shows things where they are, what stands in for it on the host. */
export function repositoryInside(ctx: Pick<RunnerContext, "home" | "driver">, row: RunRow, dir: string): string {
  const dirs = attemptDirs(ctx.home, row);
  const { workspace } = ctx.driver(row.spec.sandboxDriver).pathsInside(dirs);
  return workspace === dirs.workspace ? dir : path.join(repositoriesBeside(workspace), path.basename(dir));
}

/** All of them, as the agent sees them. */
export function repositoriesInside(ctx: Pick<RunnerContext, "home" | "driver">, row: RunRow): string[] {
  return furtherOf(row).map(({ name }) => repositoryInside(ctx, row, repositoryDir(ctx, row, name)));
}

/** What the agent, and what works for it, sees of the further repositories: those that are there, with the caches that they borrow from. */
export function repositoryMounts(ctx: Pick<RunnerContext, "home" | "driver">, row: RunRow): Mount[] {
  const known = knownState(row).repositories ?? {};
  const mayWrite = permissionsOf(row).includes("write");
  return furtherOf(row).flatMap(({ name, access }) => {
    const source = repositoryDir(ctx, row, name);
    if (!isDirectory(source)) return [];
    const mode = mayWrite && access === "write" ? "rw" : "ro";
    const cachePath = known[name]?.cachePath;
    const cache: Mount[] = cachePath !== undefined && isDirectory(cachePath) ? [{ source: cachePath, target: cachePath, mode: "ro" }] : [];
    return [{ source, target: repositoryInside(ctx, row, source), mode }, ...cache];
  });
}

export function isDirectory(file: string): boolean {
  return lstatSync(file, { throwIfNoEntry: false })?.isDirectory() === true;
}

import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createWakes } from "../engine/wakes.ts";
import { type Home, homeAt } from "../home.ts";
import { readEvents } from "../store/events.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { attemptState } from "./attempt-state.ts";
import type { Carry } from "../store/run-row.ts";
import { reloadRun } from "../store/runs.ts";
import { type AttemptDirs, attemptDirs } from "./directories.ts";
import { type RunHandle, runHandle } from "./run-handle.ts";
import { takeOverWorkspace } from "./take-over.ts";
import { laterTurn, makeOrganization, ORG } from "./testing/later-turn.ts";

let database: TestDatabase;
let home: Home;
let serial = 0;
let handle: RunHandle;
let from: AttemptDirs;
let to: AttemptDirs;

beforeAll(async () => {
  database = await createTestDatabase();
  home = homeAt(mkdtempSync(path.join(tmpdir(), "runyard-take-over-")));
  await makeOrganization(database.db);
});
afterAll(async () => {
  rmSync(home.root, { recursive: true, force: true });
  await database.drop();
});

/** A run that was just taken up for its second turn; its first one left files in attempt 7. */
beforeEach(async () => {
  const row = await laterTurn(database.db, { id: `run_${(serial += 1)}`, attempts: [7] });
  handle = runHandle({ db: database.db, wakes: createWakes() }, row);
  from = attemptDirs(home, { id: row.id, attempt: 7 });
  to = attemptDirs(home, row);
  for (const dir of [from.workspace, from.home]) {
    mkdirSync(dir, { recursive: true });
    writeFileSync(path.join(dir, "left.txt"), "left");
  }
});

const takeOver = async (): Promise<boolean> => (await takeOverWorkspace({ home }, handle)).isTaken;
const leftIn = (dir: string): string | null =>
  existsSync(path.join(dir, "left.txt")) ? readFileSync(path.join(dir, "left.txt"), "utf8") : null;

async function notices(): Promise<string[]> {
  const read = await readEvents(database.db, { orgId: ORG, runId: handle.row.id, after: 0, limit: 100 });
  const said = (read?.events ?? []).map((event) => JSON.parse(event.json) as { type: string; data: { code: string } });
  return said.filter((event) => event.type === "notice").map((event) => event.data.code);
}

/** What a server that was killed in the middle leaves, for the next one. */
const moments: [string, () => void][] = [
  ["nothing was done yet", () => undefined],
  ["the workspace was moved", () => (mkdirSync(to.root, { recursive: true }), renameSync(from.workspace, to.workspace))],
  [
    "both were moved",
    () => {
      mkdirSync(to.root, { recursive: true });
      for (const name of ["workspace", "home"] as const) renameSync(from[name], to[name]);
    },
  ],
];

test("further repositories come along, also where a server was killed behind the workspace", async () => {
  mkdirSync(path.join(from.repositories, "lib"), { recursive: true });
  writeFileSync(path.join(from.repositories, "lib", "left.txt"), "left");
  mkdirSync(to.root, { recursive: true });
  renameSync(from.workspace, to.workspace);
  for (let times = 0; times < 2; times += 1) {
    expect(await takeOver()).toBe(true);
    expect([leftIn(path.join(to.repositories, "lib")), existsSync(from.repositories)]).toEqual(["left", false]);
  }
});

test.each(moments)("workspace and home are taken over where %s", async (_, before) => {
  before();
  for (let times = 0; times < 2; times += 1) {
    expect(await takeOver()).toBe(true);
    expect([leftIn(to.workspace), leftIn(to.home), existsSync(from.workspace), existsSync(from.home)]).toEqual([
      "left",
      "left",
      false,
      false,
    ]);
  }
  expect(attemptState(handle.row).workspace).toBe("taken");
  expect(await notices()).toEqual([]);
});

test.each([
  ["nothing was done yet", () => undefined],
  ["only the overlay was moved", () => (mkdirSync(to.root, { recursive: true }), renameSync(from.overlay, to.overlay))],
])("a workspace that is an overlay is taken over whole, where %s", async (_, before) => {
  mkdirSync(from.overlay);
  writeFileSync(path.join(from.overlay, "left.txt"), "left");
  before();
  for (let times = 0; times < 2; times += 1) {
    expect(await takeOver()).toBe(true);
    expect([leftIn(to.overlay), leftIn(to.workspace), existsSync(from.overlay), existsSync(from.workspace)]).toEqual([
      "left",
      "left",
      false,
      false,
    ]);
  }
});

test("a workspace that is gone is said once, and what is made in its place is never taken for it", async () => {
  rmSync(from.root, { recursive: true });
  expect(await takeOver()).toBe(false);
  expect(attemptState(handle.row).workspace).toBe("fresh");
  mkdirSync(to.workspace, { recursive: true }); // half made, when the server was killed
  expect(await takeOver()).toBe(false);
  expect(await notices()).toEqual(["workspace-renewed"]);
});

test("a link is no workspace, and one that nobody may write is", async () => {
  rmSync(from.home, { recursive: true });
  symlinkSync(home.root, from.home);
  chmodSync(from.workspace, 0o500);
  expect(await takeOver()).toBe(true);
  expect([leftIn(to.workspace), existsSync(to.home)]).toEqual(["left", false]);
});

test("what lives of the attempt before is ended first", async () => {
  const step = from.step("agent");
  mkdirSync(step, { recursive: true });
  const left = spawn("sleep", ["600"], { cwd: step, stdio: "ignore" });
  const ended = once(left, "exit");
  await once(left, "spawn");
  expect(await takeOver()).toBe(true);
  expect(await ended).toEqual([null, "SIGKILL"]);
});

const BASE: NonNullable<Carry["rebase"]> = { branch: "main", commit: "b".repeat(40), hasTask: true };

test.each<[string, { exit: string; rebase?: Carry["rebase"]; step?: "merge"; state?: unknown }, string | null]>([
  ["had it", { exit: "0" }, "left"],
  ["was still making it", { exit: "none" }, null],
  ["had not yet begun to merge the base", { exit: "0", rebase: BASE }, "left"],
  ["was lost while it merged the base", { exit: "0", rebase: BASE, step: "merge" }, null],
  [
    "had merged the base",
    {
      exit: "0",
      rebase: BASE,
      step: "merge",
      state: { format: 1, rebase: { outcome: "merged", from: "a".repeat(40), head: "c".repeat(40), conflicts: [] } },
    },
    "left",
  ],
])("an attempt of the same turn that broke gives the workspace on where it %s", async (_, { exit, rebase, step, state = {} }, left) => {
  const { id } = await laterTurn(database.db, { id: `run_${(serial += 1)}`, attempts: [7] });
  const carry = { attempts: [7], head: null, published: null, sessionId: null, prompt: "x", lastWords: null, ...(rebase && { rebase }) };
  const values = [id, JSON.stringify(carry), JSON.stringify(state)];
  await database.db.inOrganization(ORG, (tx) =>
    tx.query("update runyard.runs set attempt = 9, carry = $2, state = $3 where id = $1", values),
  );
  const row = await reloadRun(database.db, { id, org_id: ORG });
  if (row === undefined) throw new Error("no row");
  handle = runHandle({ db: database.db, wakes: createWakes() }, row);
  const broken = attemptDirs(home, { id, attempt: 8 });
  for (const dir of [broken.workspace, broken.home, broken.step("prepare")]) mkdirSync(dir, { recursive: true });
  writeFileSync(path.join(broken.workspace, "left.txt"), "left");
  writeFileSync(path.join(broken.step("prepare"), "exit"), `${exit.padEnd(15)}\n`);
  writeFileSync(path.join(broken.step("prepare"), "started"), "");
  if (step !== undefined) mkdirSync(broken.step(step));
  expect(await takeOver()).toBe(left !== null);
  expect(leftIn(attemptDirs(home, row).workspace)).toBe(left);
});

describe("around a plan", () => {
  async function handleWith(change: { plans: boolean; attempt: number; carry: Partial<Carry> }): Promise<void> {
    const { id } = await laterTurn(database.db, { id: `run_${(serial += 1)}`, attempts: [7] });
    const carry = { head: null, published: null, sessionId: null, prompt: "x", lastWords: null, attempts: [], ...change.carry };
    await database.db.inOrganization(ORG, (tx) =>
      tx.query("update runyard.runs set plans = $2, attempt = $3, carry = $4 where id = $1", [
        id,
        change.plans,
        change.attempt,
        JSON.stringify(carry),
      ]),
    );
    const row = await reloadRun(database.db, { id, org_id: ORG });
    if (row === undefined) throw new Error("no row");
    handle = runHandle({ db: database.db, wakes: createWakes() }, row);
    to = attemptDirs(home, row);
  }
  function leave(attempt: number, ...names: ("workspace" | "home")[]): AttemptDirs {
    const dirs = attemptDirs(home, { id: handle.row.id, attempt });
    for (const name of names) {
      mkdirSync(dirs[name], { recursive: true });
      writeFileSync(path.join(dirs[name], "left.txt"), `${name} ${attempt}`);
    }
    return dirs;
  }
  const planned = (attempt: number): Pick<Carry, "goesOn"> => ({
    goesOn: { attempt, next: { type: "build", text: "x", isEdited: false } },
  });

  test("a plan phase gets a copy: the workspace stays where it is, the home comes along", async () => {
    await handleWith({ plans: true, attempt: 8, carry: { attempts: [7] } });
    const seven = leave(7, "workspace", "home");
    for (let times = 0; times < 2; times += 1)
      expect(await takeOverWorkspace({ home }, handle)).toMatchObject({ isTaken: false, copyOf: { workspace: seven.workspace } });
    expect([leftIn(to.home), leftIn(seven.workspace), existsSync(to.workspace)]).toEqual(["home 7", "workspace 7", false]);
  });

  test("behind a first plan there is no workspace, and none is missed", async () => {
    await handleWith({ plans: false, attempt: 2, carry: { homes: [1], ...planned(1) } });
    const one = leave(1, "workspace", "home");
    expect(await takeOverWorkspace({ home }, handle)).toEqual({ isTaken: false, copyOf: null });
    expect([leftIn(to.home), leftIn(one.workspace), existsSync(to.workspace)]).toEqual(["home 1", "workspace 1", false]);
    mkdirSync(to.workspace); // half made, when the server was killed
    expect(await takeOverWorkspace({ home }, handle)).toEqual({ isTaken: false, copyOf: null });
    expect(await notices()).toEqual([]);
  });

  test("an attempt behind one that broke goes on where that one was, and never where anybody planned", async () => {
    await handleWith({ plans: false, attempt: 4, carry: { attempts: [1], homes: [2, 1], ...planned(2) } });
    for (const attempt of [2, 3]) {
      const step = leave(attempt, "workspace", "home").step("prepare");
      mkdirSync(step, { recursive: true });
      writeFileSync(path.join(step, "exit"), `${"0".padEnd(15)}\n`);
      writeFileSync(path.join(step, "started"), "");
    }
    expect(await takeOverWorkspace({ home }, handle)).toEqual({ isTaken: true, copyOf: null });
    expect([leftIn(to.workspace), leftIn(to.home)]).toEqual(["workspace 3", "home 3"]);
  });
});

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { PlainDriverName } from "../sandbox/drivers.ts";
import { changedBetween } from "./changed-between.ts";
import { diffFiles } from "./changed-files.ts";
import { dropRunRefs } from "./cache.ts";
import { readCommittedFile } from "./read-file.ts";
import type { GitHost } from "./host-git.ts";
import { inspectRepository } from "./local-repository.ts";
import { patch } from "./publish.ts";
import { DRIVERS, type GitLab, openGitLab, plainGit, type TestOutcome, type TestRun, writeFiles } from "./testing/lab.ts";
import { type Markers, openMarkers } from "./testing/markers.ts";
import { PLANTED_FILES, type Plant, PLANTS, REDIRECTS } from "./testing/plants.ts";
import { readMade } from "./testing/read-made.ts";
import { isFull } from "../testing/full.ts";

vi.setConfig({ testTimeout: 240_000 });

let lab: GitLab;
let markers: Markers;
beforeAll(async () => {
  lab = await openGitLab();
  markers = openMarkers(lab.root);
});
afterAll(() => lab.close());

/** Takes a planted workspace through everything that the product does with it. */
async function publish(run: TestRun): Promise<TestOutcome> {
  const outcome = await lab.finish(run);
  const { head } = outcome;
  const place = { cachePath: run.cachePath, base: run.base };
  if (head !== null) {
    await readMade(patch(lab.host, { ...place, head, maxBytes: 1 << 20 }));
    const { files } = await diffFiles(lab.host, { ...place, head, maxBytes: 1 << 20 });
    for (const { path: file } of files) await readCommittedFile(lab.host, { ...place, commit: head, path: file, maxBytes: 1 << 20 });
    const results = run.driver === "process" ? path.join(run.resultsDir, "copied") : run.resultsDir;
    await changedBetween(lab.host, { ...place, before: results, after: results });
    // As `runyard pull` does: the person's own git, which knows the agent's files and none of its configuration.
    plainGit(run.repository.root, "merge", "--quiet", "--no-edit", run.branch);
  }
  await lab.finish(run).catch(() => {}); // once more, as after a crash
  await inspectRepository(lab.host, run.repository.root);
  await dropRunRefs(lab.host, run);
  return outcome;
}

/** An agent's tree with work of its own and these plants. */
async function plantedRun(driver: PlainDriverName, plants: readonly Plant[]): Promise<TestRun> {
  const run = await lab.prepare(lab.newRepository(PLANTED_FILES), { driver });
  // Work on every file that a plant waits for: same sizes, so that nothing is decided without reading.
  writeFiles(
    run.workspace,
    Object.fromEntries(
      Object.keys(PLANTED_FILES)
        .filter((name) => name.startsWith("a."))
        .map((name) => [name, "c\n"]),
    ),
  );
  writeFiles(run.workspace, { "new.clean": "new\n" });
  for (const plant of plants) plant.plant(run.workspace, markers.program);
  return run;
}

describe.each(isFull ? DRIVERS : DRIVERS.slice(0, 1))("planted configuration (%s)", (driver) => {
  // Each of these takes a tree for itself, and so its time.
  const alone = isFull ? REDIRECTS : REDIRECTS.slice(0, 1);
  const groups = [["many plants", PLANTS], ...alone.map((plant) => [plant.name, [plant]] as const)] as const;

  it.each(groups)("%s: nothing runs on the host, where plain git runs each", async (_name, plants) => {
    const run = await plantedRun(driver, plants);
    markers.take(); // what the planting itself has set off
    const outcome = await publish(run);
    expect(markers.take()).toEqual([]);
    expect(outcome.created).toBe(true);
    expect(plainGit(run.repository.root, "show", `${run.branch}:a.clean`)).toBe("c\n");
    expect(plainGit(run.repository.root, "show", `${run.branch}:new.clean`)).toBe("new\n");

    // The control: in the same tree, plain git runs every one of them.
    for (const plant of plants) {
      markers.take();
      plant.careless(run.workspace);
      expect([plant.name, markers.take()]).toEqual([plant.name, expect.arrayContaining([...(plant.markers ?? [plant.name])])]);
    }
  });

  it("no command of the host is even told where the agent's tree lies", async () => {
    const started: string[][] = [];
    const { spawner } = lab.host;
    const start = spawner.start.bind(spawner);
    vi.spyOn(spawner, "start").mockImplementation((dir) => {
      started.push((JSON.parse(readFileSync(path.join(dir, "spec.json"), "utf8")) as { argv: string[] }).argv);
      return start(dir);
    });
    const run = await plantedRun(driver, PLANTS);
    const preparing = started.splice(0).length;
    await publish(run);
    const onHost = started.filter(([first = ""]) => !first.endsWith("bwrap"));
    expect(preparing).toBeGreaterThan(0);
    expect(onHost.length).toBeGreaterThan(10);
    for (const argv of onHost) expect(argv.some((word) => word.includes(run.workspace))).toBe(false);
    expect(onHost.every(([first = ""]) => ["git", "setpriv", "/bin/sh"].includes(first))).toBe(true);
  });
});

describe("a repository of the user with planted configuration", () => {
  it("runs nothing while it is looked at, copied and published to, where plain git does", async () => {
    const dir = lab.newRepository(PLANTED_FILES);
    const host: GitHost = lab.host;
    for (const plant of PLANTS.filter(({ name }) => !["nested", "merge"].includes(name))) plant.plant(dir, markers.program);
    markers.take();
    const run = await lab.prepare(dir, { driver: "process" });
    writeFiles(run.workspace, { "a.clean": "c\n" });
    expect((await lab.finish(run)).created).toBe(true);
    await inspectRepository(host, dir);
    expect(markers.take()).toEqual([]);
    PLANTS[0]?.careless(dir);
    expect(markers.take()).toContain("fsmonitor");
    expect(existsSync(path.join(dir, ".git/FETCH_HEAD"))).toBe(false);
  });
});

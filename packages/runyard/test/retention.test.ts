// What ended runs leave goes by its age, on the whole line: and a run whose workspace is gone can still be shown and continued.
import { existsSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { makeRepository, readLog } from "../src/testing/server.ts";

const { reason: unavailable } = await sandboxDriver("bwrap").probe();

const line = useLine();

test.skipIf(unavailable !== null)(
  unavailable === null ? "a run outlives its workspace and its recording" : `retention cannot be tested: ${unavailable}`,
  async () => {
    await line.serve([{ run: "echo x >> new.txt" }, { say: "Done." }]);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "kept");
    const { id } = await line.client.runs.create({ task: "Do it", repositoryUrl: repository });
    expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "completed" });
    const workspaces = path.join(line.home.root, "home", "runs", id);
    expect(existsSync(workspaces)).toBe(true);

    await line.restart({ RUNYARD_KEEP_WORKSPACES: "0", RUNYARD_KEEP_RECORDINGS: "0" });
    await expect.poll(() => existsSync(workspaces), { timeout: 30_000 }).toBe(false);
    await expect
      .poll(async () => (await line.home.cli(["replay", id])).stderr, { timeout: 30_000 })
      .toContain("is recorded, so there is nothing to replay");
    expect((await line.home.cli(["diff", id])).stdout).toContain("+x");
    expect((await line.home.cli(["exchanges", id])).code).toBe(0);

    await line.restart();
    await line.client.runs.continue(id, "Go on");
    const again = await line.client.runs.waitForEnd(id);
    expect(again).toMatchObject({ status: "completed", turn: 2, result: { insertions: 2 } });
    const notices = (await readLog(line.client, id)).flatMap((event) => (event.type === "notice" ? [event.data.code] : []));
    expect(notices).toContain("workspace-renewed");
  },
  90_000,
);

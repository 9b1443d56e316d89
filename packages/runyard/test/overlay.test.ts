// A workspace that lies upon a checkout or a snapshot that is there: on the whole line, with what may be done to it, and to
// what holds it, between any two steps.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { CreateRunRequest, Run, RunEvent, WorkspaceList } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { overlaySupport } from "../src/sandbox/overlay.ts";
import { readPidFile } from "../src/sandbox/run-directory.ts";
import { measure } from "../src/runner/snapshot-files.ts";
import { processesWith, readProc } from "../src/sandbox/testing/processes.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";
import { tmpdir } from "node:os";

const bwrap = (await sandboxDriver("bwrap").probe()).reason;
const overlays = await overlaySupport(tmpdir());
const unavailable = bwrap ?? (overlays.available ? null : overlays.reason);

describe.skipIf(unavailable !== null)(
  unavailable === null ? "a workspace that is an overlay" : `overlays cannot be tested: ${unavailable}`,
  () => {
    const line = useLine();
    let serial = 0;

    /** One that is large enough for a checkout to be kept of. */
    const largeRepository = (): string => {
      serial += 1;
      const files = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`src/${index % 10}/file-${index}`, `${index}\n`]));
      return makeRepository(line.home.root, { ...files, "README.md": "# x\n", ".gitignore": "deps/\n" }, `large-${serial}`);
    };
    const home = (...parts: string[]): string => path.join(line.home.root, "home", ...parts);
    const create = async (repositoryUrl: string, request: Partial<CreateRunRequest> = {}): Promise<string> =>
      (await line.client.runs.create({ task: "Do it", repositoryUrl, ...request })).id;
    async function ended(repositoryUrl: string, request: Partial<CreateRunRequest> = {}): Promise<{ run: Run; log: RunEvent[] }> {
      const run = await line.client.runs.waitForEnd(await create(repositoryUrl, request));
      return { run, log: await readLog(line.client, run.id) };
    }
    const holders = (): number => processesWith(home("runs")).filter((pid) => readProc(pid, "cmdline").includes("/steps/holder-")).length;
    const basesOf = (): string[] => readdirSync(home("bases")).map((id) => home("bases", id, "tree"));

    test("the first run leaves its checkout to the next ones, whose workspaces are clean, their own, and gone with them", async () => {
      const look =
        "{ git diff-files; git status --porcelain; git branch --format '%(refname:short)'; git log --format=%s; ls src | wc -l; } > /tmp/seen; mv /tmp/seen seen.txt; git mv README.md READ.md; rm -r src/1; echo more >> src/2/file-2";
      await line.serve([{ run: look }, { say: "Done." }]);
      const repository = largeRepository();
      const first = await ended(repository);
      const [base = ""] = basesOf();
      const before = (await measure(base)).fingerprint;
      const second = await ended(repository);
      for (const { run } of [first, second]) {
        expect(run).toMatchObject({ status: "completed", sandbox: { workspace: "overlay" } });
        // A file that is read again would be named by diff-files.
        expect(gitIn(repository, "show", `runyard/${run.id}:seen.txt`)).toBe(`runyard/${run.id}\nFirst\n10`);
        expect(gitIn(repository, "show", "--shortstat", "--format=", `runyard/${run.id}`)).toMatch(
          /103 files changed, 4 insertions\(\+\), 100 deletions/,
        );
        expect(readdirSync(home("runs", run.id, "1", "workspace"))).toEqual([]);
      }
      expect((await measure(base)).fingerprint).toBe(before);
      await expect.poll(holders).toBe(0);
    }, 60_000);
  },
);

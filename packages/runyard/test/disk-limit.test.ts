// A run that takes more of the disk than it may, on the whole line: it is ended for that, whatever way it takes. Blocks
// are reserved and not written, so that many gigabytes take no time.
import { statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import type { CreateRunRequest, Run } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { processesWith } from "../src/sandbox/testing/processes.ts";
import { useLine } from "../src/testing/line.ts";
import { makeRepository } from "../src/testing/server.ts";

const GIB = 1024 ** 3;
const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const unavailable = (await sandboxDriver("bwrap").probe()).reason;

/** What is said of an agent or a command that has gone over the limit of the type `standard`. */
const MESSAGE = /^The run was ended because it took (1\d\.\d\d) GB of the disk and more: its limit is 10\.00 GB \(diskBytes\)\./;
/** Seconds that nobody else sleeps. */
const NAP = 30_000_000 + process.pid;

describe.skipIf(!full || unavailable !== null)("the disk limit", { timeout: 120_000 }, () => {
  const line = useLine();
  let serial = 0;

  async function run(script: string, request: Partial<CreateRunRequest> = {}): Promise<Run> {
    const client = await line.serve([{ run: script }, { say: "Done." }]);
    const repositoryUrl = makeRepository(line.home.root, { "README.md": "# x\n" }, `repository-${(serial += 1)}`);
    const { id } = await client.runs.create({ task: "Do it", repositoryUrl, ...request });
    return client.runs.waitForEnd(id);
  }

  test.each<[string, string, Partial<CreateRunRequest>]>([
    ["an agent with files", `fallocate -l 6G a && fallocate -l 6G ~/b; exec sleep ${NAP}`, {}],
    ["an agent that leaves at once", "fallocate -l 6G a && fallocate -l 6G ~/b", {}],
    [
      "an agent with files that it has removed and holds open",
      `exec 8<>a 9<>b; rm a b; fallocate -l 6G /proc/self/fd/8 && fallocate -l 6G /proc/self/fd/9; exec sleep ${NAP}`,
      {},
    ],
    [
      "an agent far below, where no path reaches",
      `for n in $(seq 30); do mkdir $(printf %0200d 0) && cd -P $(printf %0200d 0); done; fallocate -l 6G a; cd; fallocate -l 6G b; exec sleep ${NAP}`,
      {},
    ],
    ["a command that verifies", "true", { verify: [{ run: `fallocate -l 6G a && fallocate -l 6G ~/b; exec sleep ${NAP}`, kind: "test" }] }],
  ])("ends %s", async (_what, script, request) => {
    const { bavail, bsize } = statfsSync(tmpdir());
    if (bavail * bsize < 20 * GIB) throw new Error("this test reserves 12 GB of the disk for a moment, and there is not that much");
    const ended = await run(script, request);
    expect(ended).toMatchObject({
      status: "failed",
      attempt: 1,
      error: { type: "disk-full", message: expect.stringMatching(MESSAGE) as unknown },
      sandbox: { requested: { diskBytes: 10 * GIB }, granted: { diskBytes: 10 * GIB }, diskLimit: "soft" },
    });
    expect(processesWith(`sleep\0${NAP}`)).toEqual([]);
  });

  test("lets nobody make one file that is longer, and takes no file for what it only seems to be", async () => {
    const ended = await run("fallocate -l 11G a; truncate -s 9G sparse; ls -s a sparse; truncate -s 11G more; ls", {
      verify: [{ run: "test ! -s a && test ! -s more && test -s sparse && rm sparse", kind: "test" }],
    });
    expect(ended).toMatchObject({ status: "completed", error: null });
  });
});

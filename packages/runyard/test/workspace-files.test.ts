// What lies in the workspace of a run, fetched on the whole line: untracked and ignored files, folders, and nothing from outside.
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import type { Run, WorkspaceList } from "@runyard/sdk/contract";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { makeRepository } from "../src/testing/server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;

describe.skipIf(unavailable !== null)(unavailable === null ? "a run's workspace" : `workspaces cannot be tested: ${unavailable}`, () => {
  const line = useLine();
  const files = (...words: string[]) => line.home.cli(["files", ...words]);

  test("can be listed and fetched, with what git ignores, and without what is outside", async () => {
    const build =
      "mkdir -p dist/deep; echo built > dist/app.js; printf 'a\\0b' > dist/deep/data; ln -s app.js dist/link; ln -s /etc/passwd dist/out; mkfifo dist/pipe; echo new > untracked";
    await line.serve([{ run: build }, { say: "Done." }]);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n", ".gitignore": "dist\n" }, "built");
    const done = await line.home.cli(["run", "Build", "--repo", repository, "--json"]);
    const { id } = JSON.parse(done.stdout) as Run;
    const at = (name: string): string => path.join(line.home.root, name);

    const { data } = JSON.parse((await files(id, "--workspace", "dist", "--json")).stdout) as WorkspaceList;
    expect(data.map(({ path: name, type, size }) => [name, type, size])).toEqual([
      ["dist/app.js", "file", 6],
      ["dist/deep", "directory", null],
      ["dist/link", "link", null],
      ["dist/out", "link", null],
      ["dist/pipe", "other", null],
    ]);
    expect((await files(id, "-w")).stdout).toMatch(/ 4 bytes +untracked\n/);

    expect((await files(id, "-w", "dist/deep/data")).stdout).toBe("a\0b");
    const folder = await files(id, "--workspace", "dist/", "-o", at("copy"), "--json");
    expect(JSON.parse(folder.stdout)).toEqual({ output: at("copy"), files: 2, bytes: 9, skipped: ["out"] });
    expect(readdirSync(at("copy")).sort()).toEqual(["app.js", "deep", "link"]);
    expect(readFileSync(at("copy/deep/data"), "utf8")).toBe("a\0b");
    expect(await files(id, "-w", "dist", "-o", at("copy"))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("is not empty") as unknown,
    });
    mkdirSync(at("into"));
    expect((await files(id, "-w", "dist/deep/data", "-o", at("into"))).code).toBe(0);
    expect((await files(id, "-w", "-o", at("all.tar"))).code).toBe(0);
    expect(readdirSync(at("into"))).toEqual(["data"]);
    expect(readFileSync(at("all.tar"), "latin1")).not.toContain("root:x:0:0");

    for (const [wrong, why] of [
      ["dist/out", "links are not followed"],
      ["dist/pipe", "no file with content"],
      ["dist", "is a folder of the workspace"],
      ["nothing", "The workspace has no nothing"],
    ] as const)
      await expect(line.client.runs.workspaceFile(id, wrong).next()).rejects.toThrow(why);
    await expect(line.client.runs.file(id, "dist/app.js")).rejects.toMatchObject({ code: "file_not_found" }); // the run committed none
    expect(await files(id, "-w", "dist/out")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("links are not followed") as unknown,
    });

    const ask = (place: string, method = "GET") =>
      fetch(`${line.server.url}/v1/agent-runs/${id}/${place}`, { method, headers: { authorization: `Bearer ${line.server.token}` } });
    const answer = await ask("workspace/dist/app.js");
    expect([answer.status, await answer.text(), answer.headers.get("content-length")]).toEqual([200, "built\n", "6"]);
    expect(answer.headers.get("content-disposition")).toBe('attachment; filename="app.js"');
    expect(answer.headers.get("content-type")).toBe("application/octet-stream");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    expect(answer.headers.get("content-security-policy")).toContain("sandbox");
    expect((await ask("archive?path=dist")).headers.get("content-disposition")).toBe('attachment; filename="dist.tar"');
    expect([(await ask("archive", "HEAD")).status, (await ask("archive?path=dist/../..")).status]).toEqual([200, 422]);
    expect((await ask("workspace/dist%2F..%2F..%2Fx")).status).toBe(422);
  }, 60_000);

  test("is none before a run has one", async () => {
    await line.serve([{ say: "Done." }]);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "none");
    const { id } = await line.client.runs.create({ task: "x", repositoryUrl: repository });
    await line.client.runs.waitForEnd(id);
    const other = id.replace(/.{4}$/, "0000");
    await expect(line.client.runs.workspace(other)).rejects.toMatchObject({ code: "run_not_found" });
    const pieces = line.client.runs.workspaceArchive(id, "missing");
    await expect(pieces.next()).rejects.toMatchObject({ code: "file_not_found" });
  }, 60_000);
});

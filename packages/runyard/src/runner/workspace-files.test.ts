import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { archiveWorkspace, listWorkspace, openWorkspaceFile, READ_LIMITS } from "./workspace-files.ts";

const isRoot = process.getuid?.() === 0;
const SECRET = "the secret outside";

describe.skipIf(process.platform !== "linux")("the files of a workspace", () => {
  let root: string;
  let workspace: string;
  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), "runyard-files-"));
    workspace = path.join(root, "workspace");
    for (const dir of ["workspace/src/deep", "workspace/empty", "outside"]) mkdirSync(path.join(root, dir), { recursive: true });
    writeFileSync(path.join(root, "outside/file"), SECRET);
    writeFileSync(path.join(workspace, "src/file"), "inside");
    writeFileSync(path.join(workspace, "src/deep/run.sh"), "#!/bin/sh\n", { mode: 0o755 });
    return () => rmSync(root, { recursive: true, force: true, maxRetries: 5 });
  });

  async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const piece of pieces) chunks.push(piece);
    return Buffer.concat(chunks);
  }
  const read = async (name: string): Promise<string> =>
    (await collect((await openWorkspaceFile(workspace, name.split("/"))).bytes)).toString();
  const archive = async (name = "", limits = READ_LIMITS): Promise<Buffer> =>
    collect(await archiveWorkspace(workspace, name === "" ? [] : name.split("/"), limits));
  const openHandles = (): number => readdirSync("/proc/self/fd").length;

  it("are listed by name, with what they are", async () => {
    symlinkSync("src/file", path.join(workspace, "link"));
    execFileSync("mkfifo", [path.join(workspace, "pipe")]);
    const { data, truncated } = await listWorkspace(workspace, []);
    expect(data.map((entry) => [entry.path, entry.type, entry.size])).toEqual([
      ["empty", "directory", null],
      ["link", "link", null],
      ["pipe", "other", null],
      ["src", "directory", null],
    ]);
    expect(truncated).toBe(false);
    expect((await listWorkspace(workspace, ["src", "deep"])).data).toMatchObject([{ path: "src/deep/run.sh", size: 10, executable: true }]);
    expect((await listWorkspace(workspace, ["src", "file"])).data).toMatchObject([{ path: "src/file", type: "file" }]);
    expect(await listWorkspace(workspace, [], { ...READ_LIMITS, listed: 2 })).toMatchObject({ data: [{}, {}], truncated: true });
  });

  it("come byte for byte, one or as an archive that tar can read", async () => {
    const long = `${"n".repeat(120)}/${"m".repeat(90)}`;
    mkdirSync(path.join(workspace, path.dirname(long)));
    const bytes = Buffer.alloc(700_001, "x\u0000ÿ");
    writeFileSync(path.join(workspace, long), bytes);
    writeFileSync(Buffer.concat([Buffer.from(`${workspace}/odd-`), Buffer.from([0xff])]), "odd");
    symlinkSync(`${"t".repeat(150)}/target`, path.join(workspace, "long-link"));
    expect(await read("src/file")).toBe("inside");
    const before = openHandles();
    writeFileSync(path.join(root, "all.tar"), await archive());
    expect(openHandles()).toBe(before);
    const out = path.join(root, "out");
    mkdirSync(out);
    execFileSync("tar", ["-xf", path.join(root, "all.tar"), "-C", out]);
    execFileSync("diff", ["-r", "--no-dereference", workspace, out]);
    expect(readFileSync(path.join(out, long)).equals(bytes)).toBe(true);
    expect(readlinkSync(path.join(out, "long-link"))).toBe(`${"t".repeat(150)}/target`);
    const listed = execFileSync("tar", ["-tvf", "-"], { input: await archive("src"), encoding: "utf8" });
    expect(listed).toMatch(/-rwxr-xr-x .* deep\/run.sh\n/);
  });

  it("are refused where they are no files, and never waited for", async () => {
    execFileSync("mkfifo", [path.join(workspace, "pipe")]);
    symlinkSync("../outside", path.join(workspace, "way-out"));
    symlinkSync("../outside/file", path.join(workspace, "file-out"));
    for (const [name, why] of [
      ["pipe", "no file with content"],
      ["file-out", "links are not followed"],
      ["way-out/file", "or a link on the way to it"],
      ["src/file/x", "has no src/file/x"],
      ["src", "is a folder"],
      ["missing", "has no missing"],
    ] as const)
      await expect(read(name), name).rejects.toMatchObject({ code: "file_not_found", message: expect.stringContaining(why) as unknown });
    await expect(archive("src/file")).rejects.toMatchObject({ code: "file_not_found" });
    await expect(archive("way-out")).rejects.toMatchObject({ code: "file_not_found" });
    const all = await archive();
    expect(all.includes(SECRET)).toBe(false);
    expect(execFileSync("tar", ["-tf", "-"], { input: all, encoding: "utf8" })).not.toContain("pipe");
    for (const names of [["..", "outside", "file"], ["../outside/file"], ["src/../../outside", "file"], ["src", "./file"], [""]])
      await expect(openWorkspaceFile(workspace, names), names.join(" ")).rejects.toThrow("no name in a directory");
  });

  it("are refused before the first byte where they are too many, too large, too deep or not to be read", async () => {
    const before = openHandles();
    for (const limits of [{ bytes: 5 }, { entries: 3 }, { depth: 1 }])
      await expect(archive("", { ...READ_LIMITS, ...limits })).rejects.toMatchObject({ code: "file_too_large" });
    await expect(openWorkspaceFile(workspace, ["src", "file"], { ...READ_LIMITS, bytes: 5 })).rejects.toMatchObject({
      code: "file_too_large",
    });
    chmodSync(path.join(workspace, "src/file"), 0);
    if (!isRoot) await expect(archive()).rejects.toMatchObject({ code: "file_not_readable" });
    expect(openHandles()).toBe(before);
  });

  it("are let go of where nobody takes them to the end", async () => {
    writeFileSync(path.join(workspace, "large"), Buffer.alloc(1 << 20));
    const before = openHandles();
    for await (const piece of await archiveWorkspace(workspace, [])) {
      expect(piece.length).toBeGreaterThan(0);
      break;
    }
    for await (const piece of (await openWorkspaceFile(workspace, ["large"])).bytes) {
      expect(piece.length).toBeLessThan(1 << 20);
      break;
    }
    expect(openHandles()).toBe(before);
  });

  it("break off where a file becomes shorter meanwhile", async () => {
    writeFileSync(path.join(workspace, "large"), Buffer.alloc(1 << 20));
    const { bytes } = await openWorkspaceFile(workspace, ["large"]);
    await bytes.next();
    writeFileSync(path.join(workspace, "large"), "");
    await expect(collect(bytes)).rejects.toThrow("has become shorter");
  });

  it("never lead out, however fast somebody exchanges a folder for a link", async () => {
    const swap = `
      cd "$1" && mv src real && while :; do ln -s ../outside src; rm src; mv real src; mv src real; done`;
    const swapper = spawn("/bin/sh", ["-c", swap, "sh", workspace], { stdio: "ignore", detached: true });
    const ended = once(swapper, "exit");
    const seen = { naive: 0, inside: 0 };
    try {
      for (let round = 0; round < 20_000 && (round < 400 || seen.naive === 0 || seen.inside === 0); round += 1) {
        try {
          if (readFileSync(path.join(workspace, "src/file"), "utf8") === SECRET) seen.naive += 1; // the control: the usual way leads out
        } catch {
          // between two moves
        }
        const said = await read("src/file").catch((error: unknown) => (error as { code?: string }).code);
        expect(["inside", "file_not_found"]).toContain(said);
        if (said === "inside") seen.inside += 1;
        if (round % 20 === 0) expect((await archive().catch(() => Buffer.alloc(0))).includes(SECRET)).toBe(false);
      }
    } finally {
      // With what it has started, which would go on with the folder that is removed then.
      process.kill(-(swapper.pid ?? Number.NaN), "SIGKILL");
      await ended;
    }
    expect(seen.naive).toBeGreaterThan(0);
    expect(seen.inside).toBeGreaterThan(0);
  });
});

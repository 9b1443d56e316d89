import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { untar } from "./untar.ts";

/** A header as any program may write it. */
function header(name: string, type: string, { size = 0, target = "", mode = "644" } = {}): Buffer {
  const block = Buffer.alloc(512);
  for (const [text, at] of [
    [name, 0],
    [mode.padStart(7, "0"), 100],
    [size.toString(8).padStart(11, "0"), 124],
    ["0".repeat(11), 136],
    ["        ", 148],
    [type, 156],
    [target, 157],
    ["ustar  ", 257],
  ] as const)
    block.write(text, at, "latin1");
  block.write(
    `${block
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, "0")}\0 `,
    148,
    "latin1",
  );
  return block;
}
const file = (name: string, content: string, options: { type?: string; mode?: string } = {}): Buffer =>
  Buffer.concat([
    header(name, options.type ?? "0", { ...options, size: content.length }),
    Buffer.from(content),
    Buffer.alloc((512 - (content.length % 512)) % 512),
  ]);
const END = Buffer.alloc(1024);

/** In pieces that fit nothing. */
async function* inPieces(archive: Buffer): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < archive.length; at += 333) yield archive.subarray(at, at + 333);
}

describe("unpacking an archive", () => {
  let root: string;
  let out: string;
  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), "runyard-untar-"));
    out = path.join(root, "out");
    return () => rmSync(root, { recursive: true });
  });
  const unpack = (...parts: Buffer[]) => untar(inPieces(Buffer.concat([...parts, END])), out);

  it("makes its files, folders and links, and keeps the right to execute", async () => {
    const long = `d/${"n".repeat(150)}`;
    const all = await unpack(
      header("d/", "5"),
      file("d/run", "#!/bin/sh\n", { mode: "755" }),
      file("empty", ""),
      file("././@LongLink", `${long}\0`, { type: "L" }),
      file(long.slice(0, 100), "x".repeat(2_000)),
      header("d/up", "2", { target: "../empty" }),
    );
    expect(all).toEqual({ files: 3, bytes: 2_010, skipped: [] });
    expect(readFileSync(path.join(out, long), "utf8")).toBe("x".repeat(2_000));
    expect([statSync(path.join(out, "d/run")).mode & 0o777, statSync(path.join(out, "empty")).mode & 0o111]).toEqual([0o755, 0]);
    expect(readlinkSync(path.join(out, "d/up"))).toBe("../empty");
  });

  it.each(["../evil", "/evil", "a/../../evil", "a//evil", "./evil", "..", "a/.."])("refuses the path %s", async (name) => {
    await expect(unpack(header("a/", "5"), file(name, "evil"))).rejects.toThrow("which is no path in a folder");
    expect(readdirSync(root)).toEqual(["out"]);
    expect(readdirSync(out)).toEqual(["a"]);
  });

  it.each(["1", "3", "4", "6", "7", "g", "S"])("refuses an entry of type %s", (type) =>
    expect(unpack(header("x", type))).rejects.toThrow("neither a file nor a folder nor a link"),
  );

  it("makes no link that leads out, by itself or through another one", async () => {
    const { skipped } = await unpack(
      header("d/", "5"),
      header("absolute", "2", { target: "/etc/passwd" }),
      header("up", "2", { target: ".." }),
      header("d/up-two", "2", { target: "../../x" }),
      header("d/top", "2", { target: ".." }),
      header("through", "2", { target: "d/top/../x" }),
      header("none", "2", { target: "" }),
      header("fine", "2", { target: "d/top/d" }),
    );
    expect(skipped).toEqual(["absolute", "up", "d/up-two", "through", "none"]);
    expect(readdirSync(out).sort()).toEqual(["d", "fine"]);
  });

  it("writes through no link, neither its own nor one that is there", async () => {
    writeFileSync(path.join(root, "victim"), "whole");
    await expect(unpack(header("way", "2", { target: "../victim" }), file("way", "evil"))).resolves.toMatchObject({ skipped: ["way"] });
    expect(readFileSync(path.join(root, "victim"), "utf8")).toBe("whole");
    await expect(unpack(file("x", "y"))).rejects.toThrow("is not empty");
  });

  it("writes over nothing that it has made itself", async () => {
    await expect(unpack(file("x", "first"), file("x", "second"))).rejects.toMatchObject({ code: "EEXIST" });
    expect(readFileSync(path.join(out, "x"), "utf8")).toBe("first");
    rmSync(out, { recursive: true });
    await expect(unpack(header("way", "2", { target: "x" }), header("way", "2", { target: "y" }))).rejects.toMatchObject({
      code: "EEXIST",
    });
    expect(readlinkSync(path.join(out, "way"))).toBe("x");
  });

  it("says where an archive ends too early, or is none", async () => {
    await expect(untar(inPieces(file("x", "y").subarray(0, 513)), out)).rejects.toThrow("it ends in the middle");
    rmSync(out, { recursive: true });
    await expect(untar(inPieces(file("x", "y")), out)).rejects.toThrow("it ends in the middle"); // without its end
    rmSync(out, { recursive: true });
    await expect(unpack(Buffer.alloc(512, "x"))).rejects.toThrow(/a header/);
    expect(existsSync(out)).toBe(true);
  });
});

import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findProgram, hostToolchains, pathInside, resolveToolchain, systemDirs } from "./toolchains.ts";

describe("a toolchain", () => {
  let home: string;
  beforeEach(() => {
    home = realpathSync(mkdtempSync(path.join(tmpdir(), "runyard-toolchains-")));
  });
  afterEach(() => rmSync(home, { recursive: true }));

  function program(...parts: string[]): string {
    const file = path.join(home, ...parts);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, "#!/bin/sh\n");
    chmodSync(file, 0o755);
    return file;
  }

  it("of the system needs no mount", () => {
    expect(resolveToolchain("/bin/sh").mounts).toEqual([]);
  });

  it("in a directory of its own is shown whole, where its links lead", () => {
    const file = program(".nvm/versions/node/v22.1.0/bin/node");
    const link = path.join(home, "node");
    symlinkSync(file, link);
    const prefix = path.join(home, ".nvm/versions/node/v22.1.0");
    expect(resolveToolchain(link, home)).toEqual({
      program: file,
      binDir: path.join(prefix, "bin"),
      mounts: [{ source: prefix, target: prefix, mode: "ro" }],
    });
  });

  it("among other things is shown without them", () => {
    for (const place of [".local/bin", "bin"]) {
      const file = program(place, "node");
      expect(resolveToolchain(file, home).mounts).toEqual([{ source: file, target: file, mode: "ro" }]);
    }
    mkdirSync(path.join(home, ".local/lib/node_modules"), { recursive: true });
    const sources = resolveToolchain(path.join(home, ".local/bin/node"), home).mounts.map(({ source }) => source);
    expect(sources).toEqual([path.join(home, ".local/bin/node"), path.join(home, ".local/lib/node_modules")]);
  });

  it("that is one file without a directory of its own is shown as that file", () => {
    const file = program(".local/share/agent/versions/1.2.3");
    expect(resolveToolchain(file, home).mounts).toEqual([{ source: file, target: file, mode: "ro" }]);
  });

  it("of Homebrew is shown with all that it links to, and without what services keep", () => {
    const file = program("linuxbrew/Cellar/node/22.1.0/bin/node");
    program("linuxbrew/var/db/data");
    program("linuxbrew/etc/service.conf");
    program("linuxbrew/lib/libnode.so");
    const sources = resolveToolchain(file, home).mounts.map(({ source }) => path.relative(home, source));
    expect(sources).toEqual(["linuxbrew/Cellar", "linuxbrew/lib"]);
  });
});

describe("what a sandbox sees of the host", () => {
  it("has this node on its PATH", () => {
    const [node] = hostToolchains();
    expect(node!.program).toBe(realpathSync(process.execPath));
    expect(findProgram("node", pathInside([node!]).split(":"))).not.toBeNull();
  });

  it("puts a toolchain before the system, once", () => {
    const chain = { program: "/opt/x/bin/node", binDir: "/opt/x/bin", mounts: [] };
    expect(pathInside([chain, chain])).toBe("/opt/x/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
  });

  it("begins with /usr and tells links from directories", () => {
    expect(systemDirs()[0]).toEqual({ dir: "/usr", link: false });
    for (const { dir, link } of systemDirs()) expect(link).toBe(realpathSync(dir) !== dir);
  });

  it("holds no directory for a program, nor a file that cannot be executed", () => {
    expect(findProgram("bin", ["/usr"])).toBeNull();
    expect(findProgram("passwd", ["/etc"])).toBeNull();
    expect(findProgram("sh", ["/nonexistent", "/bin"])).toBe("/bin/sh");
  });
});

import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findOpencode, platformPackages } from "./opencode-program.ts";
import type { ProfileContext } from "./profile.ts";
import { resolveProfile } from "./profiles.ts";

const best = platformPackages()[0] as string;
let root: string;

beforeEach(() => {
  root = realpathSync(mkdtempSync(path.join(tmpdir(), "runyard-opencode-")));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** A file that is a program of this machine, though not opencode. */
function native(file: string): string {
  mkdirSync(path.dirname(file), { recursive: true });
  copyFileSync(realpathSync("/bin/sh"), file);
  chmodSync(file, 0o755);
  return file;
}

function script(file: string): string {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  return file;
}

function npmPackage(modules: string, name: string, version = "1.2.3"): string {
  const dir = path.join(modules, name);
  mkdirSync(dir, { recursive: true });
  writeFileSync(path.join(dir, "package.json"), JSON.stringify({ name, version }));
  return dir;
}

/** What npm leaves where install scripts are off: a script that fails, and the program in a package beside it. */
function installWithoutScripts(modules: string, platform: string): string {
  script(path.join(npmPackage(modules, "opencode-ai"), "bin/opencode.exe"));
  return native(path.join(npmPackage(modules, platform), "bin/opencode"));
}

describe("findOpencode", () => {
  it("finds the program behind npm's script on PATH", () => {
    const program = installWithoutScripts(path.join(root, "lib/node_modules"), best);
    mkdirSync(path.join(root, "bin"));
    symlinkSync("../lib/node_modules/opencode-ai/bin/opencode.exe", path.join(root, "bin/opencode"));
    expect(findOpencode({ PATH: `/nowhere:${root}/bin` })).toEqual({ program, version: "1.2.3", reason: null });
  });

  it("takes a native program as it is, whatever is around it", () => {
    const program = native(path.join(root, ".opencode/bin/opencode"));
    writeFileSync(path.join(root, ".opencode/package.json"), '{"name":"other","version":"9"}');
    expect(findOpencode({ PATH: path.dirname(program) })).toEqual({ program, version: null, reason: null });
  });

  it("goes on along PATH past a script that leads nowhere", () => {
    script(path.join(root, "a/opencode"));
    const program = native(path.join(root, "b/opencode"));
    expect(findOpencode({ PATH: `${root}/a:${root}/b` }).program).toBe(program);
  });

  it.each(["", "node_modules", "node_modules/opencode-ai", "node_modules/opencode-ai/bin/opencode.exe"])(
    "is told by RUNYARD_OPENCODE: %j",
    (place) => {
      const program = installWithoutScripts(path.join(root, "node_modules"), best);
      expect(findOpencode({ RUNYARD_OPENCODE: path.join(root, place) }).program).toBe(program);
    },
  );

  it("finds the platform's package below the other, as some package managers put it", () => {
    const modules = path.join(root, "node_modules");
    script(path.join(npmPackage(modules, "opencode-ai"), "bin/opencode.exe"));
    const program = native(path.join(npmPackage(path.join(modules, "opencode-ai/node_modules"), best), "bin/opencode"));
    expect(findOpencode({ RUNYARD_OPENCODE: root }).program).toBe(program);
  });

  it("takes the next best build where the best is not installed", ({ skip }) => {
    const next = platformPackages()[1];
    if (next === undefined) skip("this machine has one build only");
    const program = installWithoutScripts(path.join(root, "node_modules"), next as string);
    expect(findOpencode({ RUNYARD_OPENCODE: root }).program).toBe(program);
  });

  it("does not look further than RUNYARD_OPENCODE where that is set", () => {
    native(path.join(root, "bin/opencode"));
    const found = findOpencode({ RUNYARD_OPENCODE: path.join(root, "nothing"), PATH: path.join(root, "bin") });
    expect(found.program).toBeNull();
    expect(found.reason).toMatch(/no opencode for this machine is there/);
  });

  it("does not take a script without a program, a file without rights, or a relative PATH", () => {
    script(path.join(npmPackage(path.join(root, "node_modules"), "opencode-ai"), "bin/opencode.exe"));
    expect(findOpencode({ RUNYARD_OPENCODE: root }).program).toBeNull();
    const locked = native(path.join(root, "locked/opencode"));
    chmodSync(locked, 0o644);
    expect(findOpencode({ RUNYARD_OPENCODE: locked }).program).toBeNull();
    native(path.join(root, "bin/opencode"));
    expect(findOpencode({ PATH: path.relative(process.cwd(), path.join(root, "bin")) }).program).toBeNull();
    expect(findOpencode({}).reason).toMatch(/^opencode is not installed\. Install it/);
  });

  it("is what the profile runs and shows inside, and nothing around it", () => {
    const program = installWithoutScripts(path.join(root, "node_modules"), best);
    const profile = resolveProfile("opencode", { RUNYARD_OPENCODE: root });
    expect(profile?.argv({ workspace: "/workspace" } as ProfileContext)).toEqual([program, "acp", "--cwd", "/workspace"]);
    expect(profile?.mounts()).toEqual([{ source: program, target: program, mode: "ro" }]);
  });
});

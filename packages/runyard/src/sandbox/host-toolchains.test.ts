import { chmodSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { SandboxDriver } from "./driver.ts";
import { bwrapDriver } from "./bwrap-driver.ts";
import { sandboxDriver } from "./drivers.ts";
import { findHostToolchains, type HostToolchains, type ToolchainSearch, toolchainsFromEnvironment } from "./host-toolchains.ts";
import { type Lab, openLab } from "./testing/lab.ts";

const { reason } = await sandboxDriver("bwrap").probe();

/** A home as people have it: toolchains of many kinds, and what is nobody's business beside them. */
class FakeHome {
  readonly root: string;
  readonly home: string;
  readonly secrets: string[] = [];

  constructor(root: string) {
    this.root = root;
    this.home = path.join(root, "alice");
    mkdirSync(this.home, { recursive: true });
  }

  at(name: string): string {
    return path.join(this.home, name);
  }

  file(name: string, content: string, mode = 0o644): string {
    const file = this.at(name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content, { mode });
    chmodSync(file, mode);
    return file;
  }

  program(name: string, script: string, interpreter = "/bin/sh"): string {
    return this.file(name, `#!${interpreter}\n${script}\n`, 0o755);
  }

  link(name: string, target: string): void {
    mkdirSync(path.dirname(this.at(name)), { recursive: true });
    symlinkSync(target, this.at(name));
  }

  secret(name: string): void {
    this.secrets.push(this.file(name, "top secret\n"));
  }

  search(dirs: readonly string[], env: Record<string, string> = {}): ToolchainSearch {
    const PATH = [...dirs.map((dir) => path.resolve(this.home, dir)), "/usr/bin", "/bin"].join(":");
    return { env: { PATH, ...env }, home: this.home, runyardHome: this.at(".runyard") };
  }
}

const SECRETS = [
  ".npmrc",
  ".ssh/id_ed25519",
  ".config/gh/hosts.yml",
  ".local/state/x",
  ".local/share/keyrings/login",
  ".local/share/other/data",
  ".cargo/credentials.toml",
  ".nvm/.npmrc",
  ".pyenv/.env",
  ".rustup/token",
  ".linuxbrew/var/db/data",
  ".linuxbrew/etc/my.cnf",
  ".runyard/admin-token",
  "beside",
  "documents/diary",
];

function furnish(home: FakeHome): void {
  home.program(".nvm/versions/node/v22.1.0/bin/node22", 'echo "node ran $1 $2"');
  home.program(".nvm/versions/node/v22.1.0/lib/node_modules/npm/cli.js", "", home.at(".nvm/versions/node/v22.1.0/bin/node22"));
  home.link(".nvm/versions/node/v22.1.0/bin/npm22", "../lib/node_modules/npm/cli.js");
  home.program(".nvm/versions/node/v18.0.0/bin/node18", "echo unused");
  home.file(".pyenv/version", "3.12.1\n");
  home.program(".pyenv/shims/py", `exec "${home.at(".pyenv")}/libexec/pyenv" exec py "$@"`);
  home.program(
    ".pyenv/libexec/pyenv",
    'read -r version <"$PYENV_ROOT/version"; shift; name=$1; shift; exec "$PYENV_ROOT/versions/$version/bin/$name" "$@"',
  );
  home.program(".pyenv/versions/3.12.1/bin/py", 'echo "py 3.12.1 ran $1"');
  home.program(".cargo/bin/rustup9", '. "$RUSTUP_HOME/settings.toml"; exec "$RUSTUP_HOME/toolchains/$default_toolchain/bin/${0##*/}"');
  home.link(".cargo/bin/cargo9", "rustup9");
  home.file(".rustup/settings.toml", 'default_toolchain="stable"\n');
  home.program(".rustup/toolchains/stable/bin/cargo9", "echo cargo ran");
  home.program(".local/bin/own-script", "echo own ran");
  home.program(".local/share/pipx/venvs/black/bin/black", "", home.at(".local/share/pipx/venvs/black/bin/python"));
  home.link(".local/share/pipx/venvs/black/bin/python", home.at(".pyenv/versions/3.12.1/bin/py"));
  home.link(".local/bin/black", home.at(".local/share/pipx/venvs/black/bin/black"));
  home.program(".linuxbrew/Cellar/jq/1.7/bin/brewed", `. "${home.at(".linuxbrew/opt/jq/lib/words")}"; echo "$words"`);
  home.file(".linuxbrew/Cellar/jq/1.7/lib/words", 'words="brewed ran"\n');
  home.link(".linuxbrew/opt/jq", "../Cellar/jq/1.7");
  home.link(".linuxbrew/bin/brewed", "../Cellar/jq/1.7/bin/brewed");
  home.program("further/bin/further", "echo further ran");
  for (const secret of SECRETS) home.secret(secret);
}

const DIRS = [".nvm/versions/node/v22.1.0/bin", ".pyenv/shims", ".cargo/bin", ".local/bin", ".linuxbrew/bin"];

describe.skipIf(reason !== null)(`toolchains of the host in a sandbox${reason === null ? "" : ` (skipped: ${reason})`}`, () => {
  let lab: Lab;
  let home: FakeHome;
  let found: HostToolchains;
  let driver: SandboxDriver;
  beforeAll(async () => {
    lab = await openLab("toolchains");
    home = new FakeHome(lab.root);
    furnish(home);
    found = findHostToolchains(home.search(DIRS), [home.at("further")]);
    driver = bwrapDriver(found);
  });
  afterAll(() => lab.close());

  async function say(script: string, words: readonly string[] = [], by = driver): Promise<string> {
    const { stdout, stderr } = await lab.run(by, lab.newSpec(["sh", "-c", script, "sh", ...words]));
    return stdout + stderr;
  }

  it("work by their names", async () => {
    expect(await say("node22 a; npm22 b; py c; cargo9; own-script; black d; brewed; further")).toBe(
      [
        "node ran a ",
        `node ran ${home.at(".nvm/versions/node/v22.1.0/bin/npm22")} b`,
        "py 3.12.1 ran c",
        "cargo ran",
        "own ran",
        `py 3.12.1 ran ${home.at(".local/bin/black")}`,
        "brewed ran",
        "further ran",
        "",
      ].join("\n"),
    );
    expect(await say("node22 || echo none", [], sandboxDriver("bwrap"))).toContain("none"); // nor do they without
  });

  it("come in the server's order, before the system and behind the server's own Node.js", async () => {
    const dirs = [...DIRS.map((dir) => home.at(dir)), "/usr/bin", "/bin", home.at("further/bin")];
    expect(
      (await say('echo "$PATH"'))
        .trim()
        .split(":")
        .filter((dir) => dirs.includes(dir)),
    ).toEqual(dirs);
  });

  it("show nothing of what lies beside them", async () => {
    const script = 'for file in "$@"; do cat "$file" 2>/dev/null && echo "$file"; done; echo end';
    expect(await say(script, home.secrets)).toBe("end\n");
    expect(await say(script, home.secrets, sandboxDriver("process"))).toContain(`top secret\n${home.secrets.at(-1)}\nend`); // the control
    expect(await say('ls -A "$1" "$1/.cargo" "$1/.nvm/versions/node"', [home.home])).not.toMatch(/npmrc|credentials|documents|v18/);
  });

  it("cannot be changed", async () => {
    const places = found.mounts.map(({ source }) => source);
    expect(places.length).toBeGreaterThan(8);
    const script = 'for place in "$@"; do touch "$place/new" "$place" && echo "wrote $place"; done 2>/dev/null; touch own && echo own';
    expect(await say(script, places)).toBe("own\n");
    expect(readdirSync(home.at(".cargo/bin")).sort()).toEqual(["cargo9", "rustup9"]);
  });

  it("that are gone by now keep no run from its start", async () => {
    const gone = new FakeHome(path.join(lab.root, "gone"));
    gone.program(".deno/bin/deno9", "echo deno");
    const by = bwrapDriver(findHostToolchains(gone.search([".deno/bin"]), []));
    expect(await say("deno9", [], by)).toBe("deno\n");
    rmSync(gone.at(".deno"), { recursive: true });
    expect(await say("echo still", [], by)).toBe("still\n");
  });
});

describe("looking for toolchains", () => {
  let home: FakeHome;
  beforeEach(() => {
    home = new FakeHome(realpathSync(mkdtempSync(path.join(tmpdir(), "runyard-home-"))));
    return () => rmSync(home.root, { recursive: true });
  });

  it("tells name, version, and what is shown: no more than is used", () => {
    furnish(home);
    const { found } = findHostToolchains(home.search(DIRS), []);
    const told = Object.fromEntries(
      found.map(({ name, version, shown }) => [name, { version, shown: shown.map((one) => path.relative(home.home, one)) }]),
    );
    expect(told).toMatchObject({
      nvm: { version: "v22.1.0", shown: [".nvm/versions/node/v22.1.0"] },
      pyenv: { version: "3.12.1" },
      cargo: { version: null, shown: [".cargo/bin"] },
      rustup: { version: "stable", shown: [".rustup/settings.toml", ".rustup/toolchains"] },
      "~/.local": { version: null, shown: [".local/bin"] },
      pipx: { shown: [".local/share/pipx/venvs"] },
    });
  });

  it("follows a directory on PATH that is a link, as fnm makes them", () => {
    home.program(".local/share/fnm/node-versions/v20.9.0/installation/bin/node20", "echo 20");
    home.link("multishell", ".local/share/fnm/node-versions/v20.9.0/installation");
    const { path: dirs, found, hidden } = findHostToolchains(home.search(["multishell/bin"]), []);
    expect(found).toEqual([{ name: "fnm", version: "v20.9.0", shown: [home.at(".local/share/fnm/node-versions/v20.9.0")] }]);
    expect([dirs[0], hidden]).toEqual([home.at(".local/share/fnm/node-versions/v20.9.0/installation/bin"), []]);
  });

  it("takes a root from its variable, but never one that would show a home or a secret", () => {
    home.program("tools/cargo-like/bin/volta9", "echo");
    home.program("bin/own", "echo");
    home.secret(".ssh/id");
    const found = findHostToolchains(
      home.search(["tools/cargo-like/bin", "bin"], { VOLTA_HOME: home.at("tools/cargo-like"), NVM_DIR: home.home }),
      [],
    );
    expect(found.found).toEqual([{ name: "volta", version: null, shown: [home.at("tools/cargo-like/bin")] }]);
    expect(found.env).toEqual({ VOLTA_HOME: home.at("tools/cargo-like") });
    expect(found.hidden).toEqual([{ place: home.at("bin"), reason: expect.stringContaining("RUNYARD_TOOLCHAINS can name it") }]);
    home.link(".deno/bin", "../.ssh"); // a part that leads to secrets
    expect(findHostToolchains(home.search([".deno/bin"]), []).mounts).toEqual([]);
  });

  it("says what on PATH is not shown, and why", () => {
    home.program("private/tool", "echo");
    home.program("interpreter/perl9", "echo");
    home.link(".local/bin/leads-away", home.at("private/tool"));
    home.program(".local/bin/needs-more", "", home.at("interpreter/perl9"));
    const { hidden, mounts } = findHostToolchains(home.search([".local/bin", "missing"]), []);
    expect(mounts.map(({ source }) => source)).toEqual([home.at(".local/bin")]);
    expect(hidden.map((one) => [one.place, one.reason.split(":")[0]])).toEqual([
      [home.at(".local/bin/leads-away"), `it leads to ${home.at("private/tool")}`],
      [home.at(".local/bin/needs-more"), `it needs ${home.at("interpreter/perl9")}`],
    ]);
  });

  it("never waits at a fifo among programs", async () => {
    mkdirSync(home.at(".local/bin"), { recursive: true });
    const { execFileSync } = await import("node:child_process");
    execFileSync("mkfifo", [home.at(".local/bin/pipe")]);
    expect(findHostToolchains(home.search([".local/bin"]), []).found).toHaveLength(1);
  });

  it("refuses to be told of what must not be shown, and says what to do", () => {
    home.secret(".ssh/id");
    home.secret(".runyard/admin-token");
    mkdirSync(home.at("tools"));
    home.link("to-root", "/");
    home.link("to-ssh", ".ssh");
    const refusalOf = (dir: string): string => {
      try {
        return toolchainsFromEnvironment(home.search([], { RUNYARD_TOOLCHAINS: dir })).join(":");
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(refusalOf(`${home.at("tools")}/:${home.at("tools")}`)).toBe(`${home.at("tools")}:${home.at("tools")}`);
    expect(refusalOf("")).toBe("");
    for (const [dir, why] of [
      ["tools", "must be an absolute path"],
      [home.at("nowhere"), "is not a directory of this machine"],
      [home.file("file", ""), "is not a directory of this machine"],
      [home.home, "the home of this user is in it"],
      [home.root, "the home of this user is in it"],
      ["/", "the home of this user is in it"],
      [home.at("to-root"), "the home of this user is in it"],
      [home.at(".runyard"), "it is, or holds, what Runyard keeps"],
      [home.at(".ssh"), "may hold secrets"],
      [home.at("to-ssh"), "may hold secrets"],
      ["/etc", "may hold secrets"],
      ["/etc/ssl", "may hold secrets"],
      ["/proc/self", "may hold secrets"],
      ["/usr/lib", "is shown in every sandbox anyway"],
      ["/var", "holds more than one installation"],
    ] as const) {
      expect(refusalOf(dir), dir).toMatch(/^RUNYARD_TOOLCHAINS: "/);
      expect(refusalOf(dir), dir).toContain(why);
    }
  });
});

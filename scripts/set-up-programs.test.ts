import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { refusalOfNode } from "./setup/node-version.mjs";
import { choosePackageManager, commandToShow, hasAptLists, installCommands } from "./setup/package-manager.mjs";
import { findProgram } from "./setup/programs.mjs";
import { SetUpError } from "./setup/say.mjs";
import { ensureSystemPrograms, missingPrograms } from "./setup/system-programs.mjs";

/** The only directory on PATH: a test sees the programs that it puts here. */
let bin = "";
let told = "";

beforeEach(() => {
  bin = mkdtempSync(path.join(tmpdir(), "runyard-bin-"));
  told = "";
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    told += String(text);
    return true;
  });
});
afterEach(() => {
  rmSync(bin, { recursive: true, force: true });
});

function putProgram(name: string, script = "exit 0"): void {
  const file = path.join(bin, name);
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
}

/** A package manager that notes how it is called and brings every program that Runyard needs. */
function putPackageManager(name: string): void {
  const bring = ["git", "bwrap", "socat"].map((program) => `printf '#!/bin/sh\\n' > ${bin}/${program}; /bin/chmod 755 ${bin}/${program}`);
  putProgram(name, [`echo "${name} $*" >> ${bin}/calls`, ...bring].join("\n"));
}

function calls(): string[] {
  return readFileSync(path.join(bin, "calls"), "utf8").trim().split("\n");
}

function machine(isRoot: boolean, platform: NodeJS.Platform = "linux") {
  return { platform, env: { PATH: bin }, isRoot };
}

async function refusal(options: Parameters<typeof ensureSystemPrograms>[0]): Promise<string> {
  const error: unknown = await ensureSystemPrograms(options).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(SetUpError);
  return (error as SetUpError).message;
}

describe("looking programs up", () => {
  test("finds the first executable file on PATH", () => {
    putProgram("tool");
    const later = path.join(bin, "later");
    mkdirSync(later);
    symlinkSync(path.join(bin, "tool"), path.join(later, "tool"));
    expect(findProgram("tool", { PATH: `${bin}:${later}` })).toBe(path.join(bin, "tool"));
    expect(findProgram("tool", { PATH: `${later}:${bin}` })).toBe(path.join(later, "tool"));
  });

  test("passes over directories, files that cannot be executed, and dangling links", () => {
    mkdirSync(path.join(bin, "folder"));
    writeFileSync(path.join(bin, "text"), "");
    symlinkSync(path.join(bin, "nowhere"), path.join(bin, "dangling"));
    for (const name of ["folder", "text", "dangling", "absent"]) expect(findProgram(name, { PATH: bin })).toBeNull();
  });

  test("empty and relative entries of PATH count for nothing", () => {
    putProgram("tool");
    expect(findProgram("tool", { PATH: `:${path.relative(process.cwd(), bin)}` })).toBeNull();
    expect(findProgram("tool", {})).toBeNull();
  });
});

describe("package managers", () => {
  test("the one that is there is used", () => {
    expect(choosePackageManager({ PATH: bin })).toBeNull();
    for (const name of ["zypper", "pacman", "dnf", "apt-get"]) {
      putProgram(name);
      expect(choosePackageManager({ PATH: bin })?.name).toBe(name);
    }
  });

  test("apt has lists when it holds one of packages", () => {
    expect(hasAptLists(path.join(bin, "absent"))).toBe(false);
    writeFileSync(path.join(bin, "lock"), "");
    expect(hasAptLists(bin)).toBe(false);
    writeFileSync(path.join(bin, "mirror_dists_stable_main_binary-amd64_Packages.lz4"), "");
    expect(hasAptLists(bin)).toBe(true);
  });

  const apt = { name: "apt-get", install: ["apt-get", "install"], refresh: ["apt-get", "update"] };

  test("without lists they are fetched first; with lists only when the installation failed", () => {
    const [install, refresh] = [
      ["apt-get", "install", "socat"],
      ["apt-get", "update"],
    ];
    expect(installCommands({ ...apt, hasLists: () => false }, ["socat"])).toEqual([refresh, install]);
    expect(installCommands({ ...apt, hasLists: () => true }, ["socat"])).toEqual([install, refresh, install]);
    expect(installCommands({ ...apt, refresh: null, hasLists: () => true }, ["socat"])).toEqual([install]);
  });

  test("the line to paste is one command, however one becomes root", () => {
    const [without, withLists] = [false, true].map((lists) => ({ ...apt, hasLists: () => lists }));
    expect(commandToShow(withLists!, ["bubblewrap", "socat"], "sudo")).toBe("sudo apt-get install bubblewrap socat");
    expect(commandToShow(without!, ["socat"], "sudo")).toBe("sudo apt-get update && sudo apt-get install socat");
    expect(commandToShow(without!, ["socat"], "su")).toBe("su -c 'apt-get update && apt-get install socat'");
    expect(commandToShow(withLists!, ["socat"], "root")).toBe("apt-get install socat");
  });
});

describe("the programs that Runyard needs", () => {
  test("nothing is said or done when all are there", async () => {
    for (const name of ["git", "bwrap", "socat", "apt-get"]) putProgram(name, "exit 1");
    await ensureSystemPrograms({ machine: machine(true), unsafeProcess: false });
    expect(told).toBe("");
  });

  test("other systems than Linux need git only", () => {
    expect(missingPrograms(machine(false)).map((one) => one.program)).toEqual(["git", "bwrap", "socat"]);
    expect(missingPrograms(machine(false, "darwin")).map((one) => one.program)).toEqual(["git"]);
  });

  test("root installs exactly what is missing, and says so", async () => {
    putProgram("git");
    putPackageManager("dnf");
    await ensureSystemPrograms({ machine: machine(true), unsafeProcess: false });
    expect(calls()).toEqual(["dnf install -y bubblewrap socat"]);
    expect(told).toBe("Installing bubblewrap and socat with dnf: needed to keep agents away from your files and the network.\n");
  });

  test("a sudo that wants no password is used", async () => {
    putPackageManager("zypper");
    putProgram("sudo", `echo "sudo $*" >> ${bin}/calls; shift; [ "$1" = true ] || exec "$@"`);
    await ensureSystemPrograms({ machine: machine(false), unsafeProcess: false });
    expect(calls()).toEqual([
      "sudo -n true",
      "sudo -n zypper --non-interactive install git bubblewrap socat",
      "zypper --non-interactive install git bubblewrap socat",
    ]);
  });

  test("a sudo that wants a password stops with the one command to run", async () => {
    putProgram("git");
    putPackageManager("dnf");
    putProgram("sudo", "exit 1");
    expect(await refusal({ machine: machine(false), unsafeProcess: false })).toBe(
      [
        "Runyard needs bubblewrap and socat on this machine to keep agents away from your files and the network.",
        "Run this command, then start again:",
        "",
        "  sudo dnf install -y bubblewrap socat",
        "",
        "Where that is not possible, --unsafe-process goes on without isolation: an agent can then read and change whatever you can.",
      ].join("\n"),
    );
  });

  test("without sudo the command is for su, without a package manager there is advice", async () => {
    putProgram("bwrap");
    putProgram("socat");
    expect(await refusal({ machine: machine(false), unsafeProcess: false })).toBe(
      "Runyard needs git on this machine to work on repositories.\nInstall git with your system's package manager, then start again.",
    );
    putProgram("dnf", "exit 1");
    expect(await refusal({ machine: machine(false), unsafeProcess: false })).toContain("\n  su -c 'dnf install -y git'\n");
  });

  test("a package manager that fails is quoted", async () => {
    putProgram("git");
    putProgram("socat");
    putProgram("dnf", "echo no such mirror >&2; exit 1");
    const message = await refusal({ machine: machine(true), unsafeProcess: false });
    expect(message).toMatch(/^no such mirror\n\ndnf failed, see above\.\nRunyard needs bubblewrap /);
    expect(message).toContain("\n  dnf install -y bubblewrap\n");
  });

  test("--unsafe-process goes on without isolation, loudly, and installs nothing", async () => {
    putProgram("git");
    putPackageManager("dnf");
    await ensureSystemPrograms({ machine: machine(true), unsafeProcess: true });
    expect(told).toMatch(/^WARNING: --unsafe-process without bubblewrap and socat: agents run WITHOUT ISOLATION\.\n/);
    expect(told).toContain("can then read and change whatever you can");
    expect(() => calls()).toThrow("ENOENT");
  });

  test("--unsafe-process does not do without git", async () => {
    expect(await refusal({ machine: machine(true), unsafeProcess: true })).toMatch(
      /^Runyard needs git on this machine to work on repositories\.\n/,
    );
  });
});

test.each(["20.19.0", "20.20.2", "22.0.0", "24.1.0", "100.0.0-nightly"])("Node.js %s will do", (version) => {
  expect(refusalOfNode(version)).toBeNull();
});

test.each(["12.22.0", "18.20.8", "20.18.3", "20.9.0"])("Node.js %s is refused with what to do", (version) => {
  expect(refusalOfNode(version)).toBe(
    `Runyard needs Node.js 20.19 or newer; this is ${version}. Install a newer Node.js (https://nodejs.org, or your version manager) and start again.`,
  );
});

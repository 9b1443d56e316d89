import { spawn } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readlinkSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { codexDoor } from "./codex-door.ts";
import { findCodex } from "./codex-program.ts";
import type { ProfileContext } from "./profile.ts";
import { resolveProfile } from "./profiles.ts";
import { CONTEXT } from "./testing/context.ts";

const TRIPLE = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-${process.platform === "darwin" ? "apple-darwin" : "unknown-linux-musl"}`;
const PLATFORM = `@openai/codex-${process.platform}-${process.arch}`;
let root: string;

beforeEach(() => {
  root = realpathSync(mkdtempSync(path.join(tmpdir(), "runyard-codex-")));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function put(file: string, content: string, mode = 0o644): string {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content, { mode });
  return file;
}

/** A file that is a program of this machine, though not codex. */
function native(file: string): string {
  mkdirSync(path.dirname(file), { recursive: true });
  copyFileSync(realpathSync("/bin/sh"), file);
  chmodSync(file, 0o755);
  return file;
}

function adapterIn(modules: string, version = "2.6.0"): string {
  const folder = path.join(modules, "@agentclientprotocol/codex-acp");
  put(path.join(folder, "package.json"), JSON.stringify({ name: "@agentclientprotocol/codex-acp", version }));
  return put(path.join(folder, "dist/index.js"), "#!/usr/bin/env node\n", 0o755);
}

/** What npm makes of the package codex: a script, and the program in a package for this platform. */
function codexIn(modules: string): { script: string; program: string } {
  const folder = path.join(modules, "@openai/codex");
  put(path.join(folder, "package.json"), JSON.stringify({ name: "@openai/codex", version: "0.166.0" }));
  put(path.join(modules, PLATFORM, "package.json"), JSON.stringify({ name: "@openai/codex", version: "0.166.0-x" }));
  const vendor = path.join(modules, PLATFORM, "vendor", TRIPLE);
  put(path.join(vendor, "codex-package.json"), "{}");
  return {
    script: put(path.join(folder, "bin/codex.js"), "#!/usr/bin/env node\n", 0o755),
    program: native(path.join(vendor, "bin/codex")),
  };
}

describe("findCodex", () => {
  it("finds the adapter on PATH, and the codex that came with it", () => {
    const adapter = adapterIn(path.join(root, "lib/node_modules"));
    const { program } = codexIn(path.join(root, "lib/node_modules/@agentclientprotocol/codex-acp/node_modules"));
    mkdirSync(path.join(root, "bin"));
    symlinkSync("../lib/node_modules/@agentclientprotocol/codex-acp/dist/index.js", path.join(root, "bin/codex-acp"));
    expect(findCodex({ PATH: `/nowhere:${root}/bin` }).found).toEqual({
      adapter,
      adapterFolder: path.dirname(path.dirname(adapter)),
      adapterVersion: "2.6.0",
      codex: program,
      codexFolder: path.dirname(path.dirname(program)),
    });
  });

  it("prefers the user's own codex: npm's, or a program of its own", () => {
    adapterIn(path.join(root, "node_modules"));
    codexIn(path.join(root, "node_modules"));
    const own = codexIn(path.join(root, "own/lib/node_modules"));
    mkdirSync(path.join(root, "own/bin"));
    symlinkSync(own.script, path.join(root, "own/bin/codex"));
    const env = { RUNYARD_CODEX_ACP: root };
    expect(findCodex({ ...env, PATH: `${root}/own/bin` }).found?.codex).toBe(own.program);
    const single = native(path.join(root, "single/bin/codex"));
    expect(findCodex({ ...env, PATH: `${root}/single/bin:${root}/own/bin` }).found).toMatchObject({ codex: single, codexFolder: single });
    expect(findCodex({ ...env, PATH: `${root}/own/bin`, RUNYARD_CODEX: single }).found?.codex).toBe(single);
    expect(findCodex({ ...env, RUNYARD_CODEX: path.join(root, "own/lib") }).found?.codex).toBe(own.program);
  });

  it.each(["", "node_modules", "node_modules/@agentclientprotocol/codex-acp", "node_modules/@agentclientprotocol/codex-acp/dist/index.js"])(
    "is told by RUNYARD_CODEX_ACP: %j",
    (place) => {
      const adapter = adapterIn(path.join(root, "node_modules"));
      const { program } = codexIn(path.join(root, "node_modules"));
      expect(findCodex({ RUNYARD_CODEX_ACP: path.join(root, place) }).found).toMatchObject({ adapter, codex: program });
    },
  );

  it("does not take another program of that name for the adapter", () => {
    native(path.join(root, "bin/codex-acp"));
    put(path.join(root, "package.json"), '{"name":"other","version":"1.0.0"}');
    expect(findCodex({ PATH: path.join(root, "bin") }).found).toBeNull();
    adapterIn(path.join(root, "node_modules"));
    expect(findCodex({ PATH: path.join(root, "bin"), RUNYARD_CODEX_ACP: "/nowhere" }).reason).toMatch(
      /^RUNYARD_CODEX_ACP is \/nowhere, and no @agentclientprotocol\/codex-acp is there/,
    );
  });

  it("says exactly what to install", () => {
    expect(findCodex({}).reason).toBe(
      "Codex's adapter for ACP is not installed. Install it (npm install -g @agentclientprotocol/codex-acp@2.6.0), or set RUNYARD_CODEX_ACP to its program or to a folder with its node_modules.",
    );
    adapterIn(path.join(root, "node_modules"));
    const env = { RUNYARD_CODEX_ACP: root };
    expect(findCodex(env).reason).toMatch(/^Codex itself is not installed\. Install it \(npm install -g @openai\/codex\)/);
    expect(findCodex({ ...env, RUNYARD_CODEX: "/nowhere" }).reason).toMatch(/^RUNYARD_CODEX is \/nowhere/);
  });
});

describe("the profile", () => {
  const ODD: ProfileContext = { ...CONTEXT, model: 'odd"model\\' };

  it("shows adapter and codex inside and nothing around them, and keeps the token out of files", () => {
    const adapter = adapterIn(path.join(root, "node_modules"));
    const { program } = codexIn(path.join(root, "node_modules"));
    const profile = resolveProfile("codex", { RUNYARD_CODEX_ACP: root });
    const folders = [path.dirname(path.dirname(adapter)), path.dirname(path.dirname(program))];
    expect(profile?.mounts()).toEqual(folders.map((folder) => ({ source: folder, target: folder, mode: "ro" })));
    expect(profile?.argv(ODD).slice(3)).toEqual(["codex", "/home/agent/.codex/runyard-codex.mjs", "/opt/node/bin/node", adapter]);
    const [config, door, ...others] = profile?.homeFiles(ODD) ?? [];
    expect(others).toEqual([]);
    expect(config).toMatchObject({ path: ".codex/config.toml", content: expect.stringContaining('model = "odd\\"model\\\\"\n') as string });
    expect(config?.content).toContain('base_url = "http://127.0.0.1:3128/v1"');
    expect(door).toMatchObject({ path: ".codex/runyard-codex.mjs", content: expect.stringContaining(program) as string });
    expect(`${config?.content}${door?.content}`).not.toContain("run-token");
    const env = profile?.env(ODD);
    expect(env).toMatchObject({ RUNYARD_GATEWAY_TOKEN: "run-token", CODEX_HOME: "/home/agent/.codex" });
    expect(env?.["CODEX_PATH"]).toBe(`/home/agent/${door?.path}`);
  });

  it("says what to do where it is not installed", async () => {
    const profile = resolveProfile("codex", { RUNYARD_CODEX_ACP: "/nowhere" });
    expect(() => profile?.argv(ODD)).toThrow(/RUNYARD_CODEX_ACP is \/nowhere.*npm install -g @agentclientprotocol\/codex-acp@2\.6\.0/);
    expect(await profile?.probe({ RUNYARD_CODEX_ACP: "/nowhere" })).toMatchObject({ installed: false, program: null, version: null });
  });
});

describe("the door", () => {
  /** What codex is told, and how the door ends, when the adapter says these lines and goes. */
  async function through(lines: readonly object[]): Promise<{ told: unknown[]; code: number | null }> {
    const codex = put(path.join(root, "codex"), '#!/bin/sh\necho "\\"$*\\""\ncat\nexit 7\n', 0o755);
    mkdirSync(path.join(root, "home"));
    const door = put(
      path.join(root, "home/door.mjs"),
      codexDoor({ codex, workspace: path.join(root, "w"), codexHome: path.join(root, "home") }),
    );
    const child = spawn(process.execPath, [door, "app-server"], { stdio: ["pipe", "pipe", "inherit"] });
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    child.stdin.end(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const out = await text(child.stdout);
    return {
      told: out
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
      code: await ended,
    };
  }

  it("passes everything on as it is, but for who asks, whom to trust and how a refusal goes on", async () => {
    const same = [
      { id: 1, method: "initialize", params: { clientInfo: { name: "x" } } },
      { id: 5, result: { decision: "accept" } },
      { id: 6, error: { code: 1, message: "no" } },
      { method: "initialized" },
    ];
    const { told, code } = await through([
      ...same,
      { id: 2, method: "thread/start", params: { cwd: "/w", config: { projects: { "/w": { trust_level: "trusted" } } } } },
      { id: 3, method: "turn/start", params: { approvalPolicy: "never", input: [{ type: "text", text: '"approvalPolicy":"never"' }] } },
      { id: 4, result: { decision: "cancel" } },
      { id: 8, method: "thread/start", params: { cwd: "/w", ephemeral: true } },
    ]);
    expect(told).toEqual([
      "app-server",
      ...same,
      { id: 2, method: "thread/start", params: { cwd: "/w", config: { projects: { "/w": { trust_level: "untrusted" } } } } },
      {
        id: 3,
        method: "turn/start",
        params: { approvalPolicy: "untrusted", approvalsReviewer: "user", input: [{ type: "text", text: '"approvalPolicy":"never"' }] },
      },
      { id: 4, result: { decision: "decline" } },
    ]);
    expect(code).toBe(7);
    expect(readlinkSync(path.join(root, "home/AGENTS.md"))).toBe(path.join(root, "w/AGENTS.md"));
  });
});

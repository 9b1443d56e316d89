import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { geminiPrelude } from "./gemini-prelude.ts";
import type { AgentProfile } from "./profile.ts";
import { resolveProfile } from "./profiles.ts";
import { CONTEXT } from "./testing/context.ts";

const PROGRAMS = {
  claude: {
    name: "@agentclientprotocol/claude-agent-acp",
    script: "dist/index.js",
    command: "claude-agent-acp",
    variable: "RUNYARD_CLAUDE",
  },
  gemini: { name: "@google/gemini-cli", script: "bundle/gemini.js", command: "gemini", variable: "RUNYARD_GEMINI" },
} as const;
type Name = keyof typeof PROGRAMS;

let root: string;
beforeEach(() => {
  root = realpathSync(mkdtempSync(path.join(tmpdir(), "runyard-scripts-")));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const profileOf = (name: Name, env: NodeJS.ProcessEnv): AgentProfile => resolveProfile(name, env) as AgentProfile;

/** What npm makes of the package below that node_modules; gives back its script. */
function installIn(modules: string, { name, script }: { readonly name: string; readonly script: string }): string {
  const folder = path.join(modules, name);
  mkdirSync(path.join(folder, path.dirname(script)), { recursive: true });
  writeFileSync(path.join(folder, "package.json"), JSON.stringify({ name, version: "1.2.3" }));
  writeFileSync(path.join(folder, script), "#!/usr/bin/env node\n", { mode: 0o755 });
  return path.join(folder, script);
}

describe.each(Object.keys(PROGRAMS) as Name[])("%s", (name) => {
  const program = PROGRAMS[name];
  const { variable, command } = program;

  it("is found on PATH, past what has only its name", async () => {
    const script = installIn(path.join(root, "lib/node_modules"), program);
    mkdirSync(path.join(root, "bin"));
    mkdirSync(path.join(root, "other"));
    symlinkSync(script, path.join(root, "bin", command));
    writeFileSync(path.join(root, "other", command), "#!/bin/sh\n", { mode: 0o755 });
    const env = { PATH: `/nowhere:${root}/other:${root}/bin` };
    expect(await profileOf(name, env).probe(env)).toEqual({ installed: true, version: "1.2.3", program: script, reason: null });
  });

  it.each(["", "node_modules", `node_modules/${program.name}`, `node_modules/${program.name}/${program.script}`])(
    `is told by ${variable}: %j`,
    async (place) => {
      const script = installIn(path.join(root, "node_modules"), program);
      const env = { [variable]: path.join(root, place), PATH: "/nowhere" };
      expect(await profileOf(name, env).probe(env)).toMatchObject({ program: script });
      expect(profileOf(name, env).argv(CONTEXT)).toEqual(expect.arrayContaining(["/opt/node/bin/node", script]));
    },
  );

  it("says exactly what to install", async () => {
    const env = { [variable]: "/nowhere" };
    const { install, probe, argv } = profileOf(name, env);
    const { installed, reason } = await probe(env);
    expect({ installed, reason }).toEqual({
      installed: false,
      reason: `${variable} is /nowhere, and no ${program.name} is there. Install it (${install}), or set ${variable} to its program or to a folder with its node_modules.`,
    });
    expect(install).toMatch(new RegExp(`^npm install -g ${program.name}@\\d+\\.\\d+\\.\\d+$`));
    expect(() => argv(CONTEXT)).toThrow(reason ?? "");
    expect((await profileOf(name, {}).probe({})).reason).toMatch(/ is not installed\. Install it \(npm install -g /);
  });

  it("asks the gateway with the run's token, which is in no file", () => {
    const profile = profileOf(name, {});
    const env = profile.env(CONTEXT);
    expect(Object.values(env)).toEqual(expect.arrayContaining(["http://127.0.0.1:3128", "run-token", "some-model"]));
    expect(
      Object.values(profile.env({ ...CONTEXT, model: null })).filter((value) => typeof value !== "string" || value === "null"),
    ).toEqual([]);
    expect(JSON.stringify(profile.homeFiles(CONTEXT))).not.toContain("run-token");
  });
});

describe("what of a host is seen", () => {
  it("of Claude Code: the outermost node_modules, because its parts may lie beside each other", () => {
    const nested = path.join(root, "lib/node_modules/other/node_modules");
    installIn(nested, PROGRAMS.claude);
    const profile = profileOf("claude", { RUNYARD_CLAUDE: nested });
    const modules = path.join(root, "lib/node_modules");
    expect(profile.mounts()).toEqual([{ source: modules, target: modules, mode: "ro" }]);
    const bare = path.dirname(path.dirname(installIn(path.join(root, "bare"), PROGRAMS.claude)));
    expect(profileOf("claude", { RUNYARD_CLAUDE: bare }).mounts()).toEqual([{ source: bare, target: bare, mode: "ro" }]);
  });

  it("of Gemini CLI: its one folder", () => {
    const folder = path.dirname(path.dirname(installIn(path.join(root, "node_modules"), PROGRAMS.gemini)));
    expect(profileOf("gemini", { RUNYARD_GEMINI: root }).mounts()).toEqual([{ source: folder, target: folder, mode: "ro" }]);
  });
});

describe("what Gemini CLI loads before itself", () => {
  const put = (file: string, content = ""): string => {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), content);
    return path.join(root, file);
  };
  /** What a program prints behind it that imports as Gemini CLI does, and is spoken to no more. */
  const printed = (program: string): string => {
    const prelude = put("prelude.mjs", geminiPrelude({ workspace: path.join(root, "w"), home: path.join(root, "home") }));
    const main = put("main.mjs", `import * as fs from "node:fs";\nprocess.stdin.resume();\n${program}`);
    return execFileSync(process.execPath, ["--import", prelude, main], { input: "", encoding: "utf8" });
  };

  it("does not let it see how a repository would configure it", () => {
    const files = ["w/.gemini/settings.json", "w/.gemini/.env", "w/.gemini/other.json", "home/.gemini/settings.json"].map((file) =>
      put(file),
    );
    expect(printed(`console.log(${JSON.stringify(files)}.map((file) => fs.existsSync(file)).join());`)).toBe("false,false,true,true\n");
  });

  it("gives records of conversations names that no minute makes again, and keeps the first of two", () => {
    const chats = "home/.gemini/tmp/workspace/chats";
    put(`${chats}/session-2026-11-20T20-26-25be8e8f.jsonl`, "whole");
    put(`${chats}/notes.txt`);
    printed("");
    put(`${chats}/session-2026-11-20T20-27-25be8e8f.jsonl`, "empty");
    put(`${chats}/session-2026-11-20T20-27-84120d67.jsonl`, "another");
    printed("");
    const names = readdirSync(path.join(root, chats)).toSorted();
    expect(names).toEqual(["notes.txt", "session-kept-25be8e8f.jsonl", "session-kept-84120d67.jsonl"]);
    expect(readFileSync(path.join(root, chats, "session-kept-25be8e8f.jsonl"), "utf8")).toBe("whole");
  });

  it("ends it when nobody speaks to it any more, whatever else keeps it", () => {
    expect(printed('setInterval(() => {}, 1_000);\nconsole.log("there");')).toBe("there\n");
  });
});

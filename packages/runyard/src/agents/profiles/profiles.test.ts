import { reservedVariable } from "@runyard/sdk/contract";
import { describe, expect, it } from "vitest";
import { knownPrograms, profileNames, resolveProfile } from "./profiles.ts";
import { CONTEXT } from "./testing/context.ts";

const profile = (name: string, env: NodeJS.ProcessEnv = {}): NonNullable<ReturnType<typeof resolveProfile>> => {
  const found = resolveProfile(name, env);
  if (!found) throw new Error(`no profile ${name}`);
  return found;
};

describe("profiles", () => {
  it("are known by their names, and nothing else is", () => {
    expect(profileNames()).toEqual(["builtin", "claude", "codex", "opencode", "gemini", "custom"]);
    expect(profileNames().map((name) => profile(name).name)).toEqual(profileNames());
    for (const name of ["gpt", "", "constructor", "__proto__"]) expect(resolveProfile(name)).toBeUndefined();
  });

  it("say who can answer them, the usual one first, and whether they know models by themselves", () => {
    const told = profileNames().map((name) => [profile(name).apis[0], profile(name).picksModel]);
    expect(told).toEqual([
      ["openai", false],
      ["anthropic", true],
      ["openai", false],
      ["openai", false],
      ["gemini", true],
      [undefined, false],
    ]);
  });

  it("say how to install what may be missing", () => {
    expect(profileNames().map((name) => profile(name).install === null)).toEqual([true, false, false, false, false, true]);
    expect(knownPrograms({}).map(({ name }) => name)).toEqual(profileNames().filter((name) => name !== "custom"));
  });

  it.each(profileNames())("%s has a home of its own and nothing of the server's environment", (name) => {
    const env = profile(name).env(CONTEXT);
    expect(env["HOME"]).toBe("/home/agent");
    expect(
      Object.keys(env).filter(
        (key) =>
          !/^(HOME|LANG|OPENAI_|RUNYARD_MODEL|OPENCODE_|CODEX_|RUNYARD_GATEWAY_TOKEN|TMPDIR|INITIAL_AGENT_MODE|NO_BROWSER)/.test(key) &&
          !/^(ANTHROPIC_|CLAUDE_CODE_|DISABLE_AUTOUPDATER|ENABLE_TOOL_SEARCH|MCP_CONNECTION_NONBLOCKING|GEMINI_|GOOGLE_GEMINI_BASE_URL)/.test(
            key,
          ),
      ),
    ).toEqual([]);
  });

  it("leaves the way to allowed hosts to Runyard", () => {
    const names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "NODE_USE_ENV_PROXY"].flatMap((name) => [
      name,
      name.toLowerCase(),
    ]);
    expect(names.filter((name) => reservedVariable(name) === null)).toEqual([]);
  });

  it.each(profileNames())("%s sets no variable that users could set too, so that none is lost without a word", (name) => {
    expect(Object.keys(profile(name).env(CONTEXT)).filter((key) => reservedVariable(key) === null)).toEqual([]);
    // The control: what projects use is theirs.
    expect(["NODE_ENV", "DATABASE_URL", "API_KEY", "NPM_TOKEN", "CI", "PYTHONPATH", "JAVA_TOOL_OPTIONS"].map(reservedVariable)).toEqual(
      Array.from({ length: 7 }, () => null),
    );
  });
});

describe("builtin", () => {
  it("runs the bundle on Runyard's Node and finds the gateway in its environment", async () => {
    expect(profile("builtin").argv(CONTEXT)).toEqual(["/opt/node/bin/node", "/runtime/agent.mjs"]);
    expect(profile("builtin").env(CONTEXT)).toMatchObject({
      OPENAI_BASE_URL: "http://127.0.0.1:3128/v1",
      OPENAI_API_KEY: "run-token",
      RUNYARD_MODEL: "some-model",
    });
    expect(await profile("builtin").probe({})).toMatchObject({ installed: true, reason: null });
  });
});

describe("custom", () => {
  it.each<[readonly string[], readonly string[]]>([
    [
      ["node", "agent.mjs"],
      ["/opt/node/bin/node", "agent.mjs"],
    ],
    [
      ["./tools/agent", "--acp"],
      ["/workspace/tools/agent", "--acp"],
    ],
    [["tools/agent"], ["/workspace/tools/agent"]],
    [
      ["goose", "acp"],
      ["goose", "acp"],
    ],
    [
      ["/usr/bin/python3", "-m", "agent"],
      ["/usr/bin/python3", "-m", "agent"],
    ],
  ])("places the program of %j", (command, argv) => {
    expect(profile("custom").argv({ ...CONTEXT, command })).toEqual(argv);
  });

  it("leaves the model open where none was chosen", () => {
    const env = profile("custom").env({ ...CONTEXT, model: null });
    expect(env).toMatchObject({ OPENAI_BASE_URL: "http://127.0.0.1:3128/v1", OPENAI_API_KEY: "run-token" });
    expect(env).not.toHaveProperty("RUNYARD_MODEL");
  });

  it("needs a command", () => {
    expect(() => profile("custom").argv(CONTEXT)).toThrow(/needs a command/);
    expect(() => profile("custom").argv({ ...CONTEXT, command: [] })).toThrow(/needs a command/);
  });
});

describe("opencode", () => {
  it("gets its configuration from a file in its home, and asks for what changes things", () => {
    const [file, ...others] = profile("opencode").homeFiles(CONTEXT);
    const env = profile("opencode").env(CONTEXT);
    expect(others).toEqual([]);
    expect(env["OPENCODE_CONFIG"]).toBe(`/home/agent/${file?.path}`);
    expect(JSON.parse(env["OPENCODE_PERMISSION"] ?? "")).toEqual({ edit: "ask", bash: "ask" });
    expect(env).toMatchObject({
      OPENCODE_DISABLE_PROJECT_CONFIG: "1",
      OPENCODE_DISABLE_AUTOUPDATE: "1",
      OPENCODE_DISABLE_MODELS_FETCH: "1",
    });
    expect(JSON.parse(file?.content ?? "")).toMatchObject({
      model: "runyard/runyard",
      enabled_providers: ["runyard"],
      provider: {
        runyard: {
          npm: "@ai-sdk/openai-compatible",
          options: { baseURL: "http://127.0.0.1:3128/v1", apiKey: "run-token" },
          models: { runyard: { name: "some-model" } },
        },
      },
      instructions: ["/workspace/AGENTS.md"],
      skills: { paths: ["/workspace/.opencode/skills", "/workspace/.agents/skills", "/workspace/.claude/skills"] },
    });
    expect(Object.values(env).join("\n")).not.toContain("run-token");
  });

  it("asks before it calls tools of MCP servers, too", () => {
    const env = profile("opencode").env({ ...CONTEXT, mcpServers: ["docs", "local"] });
    expect(JSON.parse(env["OPENCODE_PERMISSION"] ?? "")).toEqual({ edit: "ask", bash: "ask", "docs_*": "ask", "local_*": "ask" });
  });

  it("says what to do where it is not installed", async () => {
    const missing = profile("opencode", { RUNYARD_OPENCODE: "/nowhere" });
    expect(() => missing.argv(CONTEXT)).toThrow(/RUNYARD_OPENCODE is \/nowhere.*Install it/);
    expect(await missing.probe({ RUNYARD_OPENCODE: "/nowhere" })).toMatchObject({
      installed: false,
      program: null,
      version: null,
      reason: expect.stringContaining("npm install -g opencode-ai") as string,
    });
  });
});

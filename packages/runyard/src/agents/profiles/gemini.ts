import { geminiPrelude } from "./gemini-prelude.ts";
import { type FoundScript, probeScript, requireScript, type ScriptPackage } from "./installed-program.ts";
import { baseEnv, type AgentProfile, type ProfileContext } from "./profile.ts";

const CLI: ScriptPackage = {
  title: "Gemini CLI",
  name: "@google/gemini-cli",
  install: "npm install -g @google/gemini-cli@0.61.0",
  script: "bundle/gemini.js",
  command: "gemini",
  variable: "RUNYARD_GEMINI",
};
const SETTINGS_FILE = ".gemini/settings.json";
const PRELUDE_FILE = ".gemini/runyard.mjs";
/** Tries of a model call in all. */
const MAX_ATTEMPTS = 3;

/**
 * Gemini CLI, from wherever it is installed on this machine: a script for Node, in one folder with all that it needs.
 * It takes about 400 MB of memory.
 */
export function geminiProfile(env: NodeJS.ProcessEnv): AgentProfile {
  const cli = (): FoundScript => requireScript(CLI, env);
  return {
    name: "gemini",
    quirks: {
      // Its own plan mode has the plan written into a file. Once it is put into a mode, it has told all of an earlier conversation.
      modes: { plan: "default", build: "default" },
      titleIsCommand: true,
      tellsNoInput: true,
    },
    apis: ["gemini"],
    picksModel: true,
    install: CLI.install,
    loginPlace: ".gemini/oauth_creds.json",
    ownLogin: "With its login, Gemini CLI speaks the format of Code Assist, which Runyard's gateway does not.",
    argv: (c) => [c.nodeProgram, "--import", `${c.home}/${PRELUDE_FILE}`, cli().script, "--acp"],
    env: geminiEnv,
    homeFiles: (c) => [
      { path: SETTINGS_FILE, content: `${JSON.stringify(SETTINGS, null, 2)}\n` },
      { path: ".gemini/policies/runyard.toml", content: POLICY },
      { path: PRELUDE_FILE, content: geminiPrelude(c) },
    ],
    mounts: () => {
      const { folder } = cli();
      return [{ source: folder, target: folder, mode: "ro" }];
    },
    probe: (probeEnv) => probeScript(CLI, probeEnv),
  };
}

function geminiEnv(c: ProfileContext): Record<string, string> {
  return {
    ...baseEnv(c),
    GEMINI_API_KEY: c.token,
    GOOGLE_GEMINI_BASE_URL: c.gatewayUrl,
    // With a name it asks no model which model to take.
    ...(c.model !== null && { GEMINI_MODEL: c.model }),
    // Else AGENTS.md counts for nothing, and no MCP server is connected to.
    GEMINI_CLI_TRUST_WORKSPACE: "true",
    // Else it starts itself a second time, for more memory.
    GEMINI_CLI_NO_RELAUNCH: "true",
    NO_BROWSER: "1",
  };
}

const SETTINGS = {
  security: { auth: { selectedType: "gemini-api-key" } },
  privacy: { usageStatisticsEnabled: false },
  telemetry: { enabled: false },
  general: {
    enableAutoUpdate: false,
    enableAutoUpdateNotification: false,
    maxAttempts: MAX_ATTEMPTS,
    sessionRetention: { enabled: false },
  },
  context: { fileName: ["AGENTS.md", "GEMINI.md"] },
  tools: { shell: { enableInteractiveShell: false } },
  advanced: { ignoreLocalEnv: true },
};

/** There is no network but the gateway. */
const POLICY = `[[rule]]
toolName = ["google_web_search", "web_fetch"]
decision = "deny"
priority = 999
`;

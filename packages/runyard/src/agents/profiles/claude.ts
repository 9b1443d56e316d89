import path from "node:path";
import { RUN_TOKEN_HEADER } from "../../core/own-login.ts";
import { claudeLogin, claudeLoginCopy } from "./claude-login.ts";
import { type FoundScript, probeScript, requireScript, type ScriptPackage } from "./installed-program.ts";
import { baseEnv, type AgentProfile, type ProfileContext } from "./profile.ts";

const ADAPTER: ScriptPackage = {
  title: "Claude Code's adapter for ACP",
  name: "@agentclientprotocol/claude-agent-acp",
  install: "npm install -g @agentclientprotocol/claude-agent-acp@0.100.0",
  script: "dist/index.js",
  command: "claude-agent-acp",
  variable: "RUNYARD_CLAUDE",
};
/** Tries of a model call beyond the first. */
const MAX_RETRIES = "2";

/**
 * Claude Code, by way of the ACP adapter that brings it along, from wherever that is installed on this machine:
 * a script for Node and a native program of 235 MB. They take about 475 MB of memory together.
 */
export function claudeProfile(env: NodeJS.ProcessEnv): AgentProfile {
  const adapter = (): FoundScript => requireScript(ADAPTER, env);
  return {
    name: "claude",
    quirks: {
      // The mode that asks before whatever changes something; what Runyard's policy does with it is its own affair.
      modes: { plan: "plan", build: "default" },
      sessionMeta: { claudeCode: { options: SESSION_OPTIONS } },
    },
    apis: ["anthropic"],
    picksModel: true,
    install: ADAPTER.install,
    loginPlace: claudeLogin.place,
    ownLogin: claudeLogin,
    argv: (c) => [c.nodeProgram, adapter().script],
    env: claudeEnv,
    homeFiles: (c) => [
      { path: ".claude/settings.json", content: `${JSON.stringify(SETTINGS, null, 2)}\n` },
      // It reads the repository's CLAUDE.md by itself.
      { path: ".claude/CLAUDE.md", content: `@${c.workspace}/AGENTS.md\n` },
      ...(c.login ? [{ path: claudeLogin.place, content: claudeLoginCopy(c.login) }] : []),
    ],
    mounts: () => {
      const modules = modulesAround(adapter().folder);
      return [{ source: modules, target: modules, mode: "ro" }];
    },
    probe: (probeEnv) => probeScript(ADAPTER, probeEnv),
  };
}

/** The user's own settings, which an agent may have changed in an earlier turn. */
const SETTINGS = { permissions: { disableBypassPermissionsMode: "disable", disableAutoMode: "disable" } };

/** What the adapter passes on to Claude Code. */
const SESSION_OPTIONS = {
  // A repository's own settings could start programs (hooks, MCP servers) and allow calls unasked. With the source
  // "project" its CLAUDE.md count, also those of folders; all the rest is looked for where there is none.
  settingSources: ["user", "project"],
  projectConfigRoot: "/usr",
  strictMcpConfig: true,
  // As root, Claude Code refuses to start with it.
  allowDangerouslySkipPermissions: false,
  // A title, and a guess of what the user might say next, cost model calls, and nobody sees them.
  title: "Runyard",
  promptSuggestions: false,
  // There is no network but the gateway, and another worktree is not what is committed.
  disallowedTools: ["WebSearch", "WebFetch", "EnterWorktree", "ExitWorktree"],
};

function claudeEnv(c: ProfileContext): Record<string, string> {
  return {
    ...baseEnv(c),
    ...(c.model !== null && modelEnv(c.model)),
    ANTHROPIC_BASE_URL: c.gatewayUrl,
    ...(c.login ? { ANTHROPIC_CUSTOM_HEADERS: `${RUN_TOKEN_HEADER}: ${c.token}` } : { ANTHROPIC_API_KEY: c.token }),
    CLAUDE_CODE_MAX_RETRIES: MAX_RETRIES,
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
    DISABLE_AUTOUPDATER: "1",
    // What it puts off beyond its turn is never done.
    CLAUDE_CODE_DISABLE_BACKGROUND_TASKS: "1",
    CLAUDE_CODE_DISABLE_CRON: "1",
    CLAUDE_CODE_DISABLE_AUTO_MEMORY: "1",
    // Else tools of MCP servers are not in the first requests.
    ENABLE_TOOL_SEARCH: "false",
    MCP_CONNECTION_NONBLOCKING: "false",
  };
}

/** One model for everything, where the run names one. */
function modelEnv(model: string): Record<string, string> {
  return {
    ANTHROPIC_MODEL: model,
    ANTHROPIC_SMALL_FAST_MODEL: model,
    ANTHROPIC_DEFAULT_OPUS_MODEL: model,
    ANTHROPIC_DEFAULT_SONNET_MODEL: model,
    ANTHROPIC_DEFAULT_HAIKU_MODEL: model,
    CLAUDE_CODE_SUBAGENT_MODEL: model,
    // Else it tries a name that it does not know with a call of its own.
    ANTHROPIC_CUSTOM_MODEL_OPTION: model,
  };
}

/** The outermost node_modules around a package: what it needs may lie beside it. */
function modulesAround(folder: string): string {
  const [before] = folder.split(`${path.sep}node_modules${path.sep}`);
  return before === folder ? folder : path.join(before ?? "", "node_modules");
}

import { RUN_TOKEN_HEADER } from "../../core/own-login.ts";
import { codexDoor } from "./codex-door.ts";
import { codexLogin, codexLoginCopy } from "./codex-login.ts";
import { ADAPTER, type CodexInstallation, findCodex } from "./codex-program.ts";
import { baseEnv, type AgentProfile, type ProfileContext } from "./profile.ts";

const CODEX_HOME = ".codex";
const DOOR_FILE = `${CODEX_HOME}/runyard-codex.mjs`;
const TOKEN_VARIABLE = "RUNYARD_GATEWAY_TOKEN";
/** For simulated runs only, which may be without a name. Codex asks and plans by a model's name where it knows it. */
const ANY_MODEL = "runyard";
/** Nobody listens there, which is known at once; names of hosts are looked for in vain for ten seconds. */
const NOWHERE = "http://127.0.0.1:9/";
/** A home's files cannot be executed. The words behind it (the door, then the agent's own argv) are parameters of the shell, never part of its text. */
const LAUNCH = 'mkdir -p "$TMPDIR" && chmod 700 "$1" && shift && exec "$@"';

/**
 * Codex, by way of the ACP adapter, both from wherever they are installed on this machine: a script for Node
 * and a native program of 320 MB with its helpers. They take about 300 MB of memory together.
 */
export function codexProfile(env: NodeJS.ProcessEnv): AgentProfile {
  const installation = (): CodexInstallation => {
    const { found, reason } = findCodex(env);
    if (found === null) throw new Error(reason);
    return found;
  };
  return {
    name: "codex",
    quirks: {},
    // Codex itself is gone at once; the adapter then waits for a timer of its own that runs for two seconds.
    leaveMs: 500,
    apis: ["openai"],
    picksModel: false,
    install: ADAPTER.install,
    loginPlace: codexLogin.place,
    ownLogin: codexLogin,
    argv: (c) => ["/bin/sh", "-c", LAUNCH, "codex", `${c.home}/${DOOR_FILE}`, c.nodeProgram, installation().adapter],
    env: codexEnv,
    homeFiles: (c) => [
      { path: `${CODEX_HOME}/config.toml`, content: codexConfig(c) },
      ...(c.login ? [{ path: codexLogin.place, content: codexLoginCopy(c.login) }] : []),
      {
        path: DOOR_FILE,
        content: codexDoor({ codex: installation().codex, workspace: c.workspace, codexHome: `${c.home}/${CODEX_HOME}` }),
      },
    ],
    mounts: () => {
      const { adapterFolder, codexFolder } = installation();
      return [adapterFolder, codexFolder].map((place) => ({ source: place, target: place, mode: "ro" }));
    },
    probe: (probeEnv) => {
      const { found, reason } = findCodex(probeEnv);
      return Promise.resolve(
        found === null
          ? { installed: false, version: null, program: null, reason }
          : { installed: true, version: found.adapterVersion, program: found.adapter, reason },
      );
    },
  };
}

function codexEnv(c: ProfileContext): Record<string, string> {
  return {
    ...baseEnv(c),
    CODEX_HOME: `${c.home}/${CODEX_HOME}`,
    CODEX_PATH: `${c.home}/${DOOR_FILE}`,
    // Below a temporary directory, Codex does without helpers that it needs; without isolation a home may lie there.
    TMPDIR: `${c.home}/tmp`,
    // Codex's own sandbox does not work inside ours. What is asked is decided in the door.
    INITIAL_AGENT_MODE: "agent-full-access",
    NO_BROWSER: "1",
    CODEX_ACP_PROMPT_SUGGESTIONS: "false",
    [TOKEN_VARIABLE]: c.token,
    // There is nothing to renew the login with.
    ...(c.login && { CODEX_REFRESH_TOKEN_URL_OVERRIDE: NOWHERE }),
  };
}

/** What Codex would otherwise do besides its work: ask its maker, start helpers, offer tools that nobody serves here. */
const FEATURES_OFF = [
  "apps",
  "browser_use",
  "computer_use",
  "enable_request_compression",
  "goals",
  "hooks",
  "image_generation",
  "in_app_browser",
  "multi_agent",
  "plugins",
  "shell_snapshot",
];

function codexConfig(c: ProfileContext): string {
  // With a login it knows which models its maker gives it.
  const model = c.login ? c.model : (c.model ?? ANY_MODEL);
  const first = [...(model === null ? [] : [`model = ${toml(model)}`]), ...(c.login ? [`chatgpt_base_url = ${toml(NOWHERE)}`] : [])];
  return `${first.map((line) => `${line}\n`).join("")}model_provider = "runyard"
approval_policy = "on-request"
sandbox_mode = "danger-full-access"
web_search = "disabled"
allow_login_shell = false
check_for_update_on_startup = false
cli_auth_credentials_store = "file"

[analytics]
enabled = false

[feedback]
enabled = false

[history]
persistence = "none"

[features]
${FEATURES_OFF.map((name) => `${name} = false`).join("\n")}

# Else a thread of the adapter's that says nothing of it makes Codex trust the workspace.
[projects.${toml(c.workspace)}]
trust_level = "untrusted"

[model_providers.runyard]
name = "Runyard"
base_url = ${toml(`${c.gatewayUrl}/v1`)}
wire_api = "responses"
${c.login ? `requires_openai_auth = true\nenv_http_headers = { "${RUN_TOKEN_HEADER}" = "${TOKEN_VARIABLE}" }` : `requires_openai_auth = false\nenv_key = "${TOKEN_VARIABLE}"`}
supports_websockets = false
`;
}

/** A text in TOML: JSON's spelling, but for the one character that JSON leaves as it is. */
function toml(text: string): string {
  return JSON.stringify(text).replaceAll("\u007f", "\\u007f");
}

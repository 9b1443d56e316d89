import { findOpencode, INSTALL_OPENCODE } from "./opencode-program.ts";
import { baseEnv, CHAT_APIS, type AgentProfile, type ProfileContext } from "./profile.ts";

const CONFIG_FILE = ".config/runyard/opencode.json";
/** The one model that opencode knows here; the gateway puts the real one in its place. */
const MODEL = "runyard/runyard";
/** Room that opencode plans with, in tokens: it sums up a conversation before it fills the context. */
const CONTEXT_TOKENS = 128_000;
const OUTPUT_TOKENS = 16_000;

/**
 * opencode, from wherever it is installed on this machine: one native program that needs the C library, a
 * home and a `/tmp` that it may write (it unpacks 6 MB there), and no network but the gateway. It takes
 * about 600 MB of memory, and up to 1.2 GB while its 180 MB are first read from the disk.
 */
export function opencodeProfile(env: NodeJS.ProcessEnv): AgentProfile {
  const program = (): string => {
    const found = findOpencode(env);
    if (found.program === null) throw new Error(found.reason);
    return found.program;
  };
  return {
    name: "opencode",
    quirks: { planTool: "todowrite" },
    apis: CHAT_APIS,
    picksModel: false,
    install: INSTALL_OPENCODE,
    loginPlace: ".local/share/opencode/auth.json",
    ownLogin: "opencode keeps keys and logins of many providers; give the server the key of one of them.",
    argv: (c) => [program(), "acp", "--cwd", c.workspace],
    env: opencodeEnv,
    homeFiles: (c) => [{ path: CONFIG_FILE, content: `${JSON.stringify(opencodeConfig(c), null, 2)}\n` }],
    mounts: () => [{ source: program(), target: program(), mode: "ro" }],
    probe: (probeEnv) => {
      const found = findOpencode(probeEnv);
      return Promise.resolve({ ...found, installed: found.program !== null });
    },
  };
}

function opencodeEnv(c: ProfileContext): Record<string, string> {
  return {
    ...baseEnv(c),
    OPENCODE_CONFIG: `${c.home}/${CONFIG_FILE}`,
    // The repository's own opencode.json could name another provider or allow itself everything, and
    // with a folder .opencode a start without internet never comes to an end.
    OPENCODE_DISABLE_PROJECT_CONFIG: "1",
    OPENCODE_DISABLE_AUTOUPDATE: "1",
    OPENCODE_DISABLE_MODELS_FETCH: "1",
    OPENCODE_DISABLE_LSP_DOWNLOAD: "1",
    // Asking is what lets Runyard's policy decide; without it opencode asks nobody.
    OPENCODE_PERMISSION: JSON.stringify({ edit: "ask", bash: "ask", ...askAboutServers(c) }),
  };
}

/** Its names for the tools of an MCP server begin with the server's. */
function askAboutServers({ mcpServers = [] }: ProfileContext): Record<string, "ask"> {
  return Object.fromEntries(mcpServers.map((name) => [`${name}_*`, "ask"]));
}

function opencodeConfig(c: ProfileContext): object {
  return {
    $schema: "https://opencode.ai/config.json",
    model: MODEL,
    small_model: MODEL,
    // Else it offers free models of its maker, and asks them.
    enabled_providers: ["runyard"],
    provider: {
      runyard: {
        npm: "@ai-sdk/openai-compatible",
        name: "Runyard",
        options: { baseURL: `${c.gatewayUrl}/v1`, apiKey: c.token },
        models: { runyard: { name: c.model ?? "runyard", limit: { context: CONTEXT_TOKENS, output: OUTPUT_TOKENS } } },
      },
    },
    autoupdate: false,
    share: "disabled",
    // Runyard keeps the workspace's history itself.
    snapshot: false,
    // A title costs a model call, and nobody sees it.
    agent: { title: { disable: true } },
    // After a refusal it goes on and looks for another way, instead of ending its turn.
    experimental: { continue_loop_on_deny: true },
    // Named, because the project's configuration is off: what a repository says to agents still counts.
    instructions: [`${c.workspace}/AGENTS.md`],
    skills: { paths: [".opencode", ".agents", ".claude"].map((folder) => `${c.workspace}/${folder}/skills`) },
  };
}

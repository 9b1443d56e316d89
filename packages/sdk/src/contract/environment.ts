import { z } from "zod";

/** Most variables of one run, repository, agent or organization, and how long a value and all of them may be, in characters. */
export const MAX_VARIABLES = 100;
const MAX_VALUE_CHARS = 16_384;
const MAX_ENVIRONMENT_CHARS = 65_536;

const noNul = (text: string): boolean => !text.includes("\0");
const LOADER = "it decides which code programs load or run when they start";
const OWN = "Runyard sets it itself";
const DOOR = "it is an agent's way to the model, which Runyard makes";

/** Names that nobody may set, and why. The first that fits counts. */
const RESERVED: readonly (readonly [RegExp, string])[] = [
  [/^(?:PATH|HOME|LANG|TMPDIR|PWD|OLDPWD|SHLVL|XDG_.*|NO_BROWSER)$/, OWN],
  [/^RUNYARD_/, "names that begin with RUNYARD_ are Runyard's own"],
  [/^(?:LD_|DYLD_)/, LOADER],
  [/^(?:GLIBC_TUNABLES|GCONV_PATH|LOCPATH)$/, LOADER],
  [/^(?:ENV|BASH_ENV|BASH_FUNC_.*|SHELLOPTS|BASHOPTS|IFS|CDPATH|PS4|PROMPT_COMMAND)$/, LOADER],
  [/^(?:NODE_OPTIONS|NODE_PATH|NODE_CHANNEL_.*|NODE_REPL_.*|NODE_V8_COVERAGE)$/, LOADER],
  [/^(?:PERL5OPT|PERL5DB|RUBYOPT|PYTHONSTARTUP|PYTHONINSPECT)$/, LOADER],
  [/^GIT_/, "git goes by what Runyard sets, and by the repository"],
  [/_PROXY$/i, "a sandbox has one way out, the gateway"],
  [/^(?:OPENAI|ANTHROPIC|CLAUDE|CLAUDE_CODE|GEMINI|GEMINI_CLI|CODEX|CODEX_ACP|OPENCODE)_/, DOOR],
  [/^GOOGLE_(?:GEMINI_.*|API_KEY|GENAI_.*)$/, DOOR],
  [/^(?:MAX_THINKING_TOKENS|ENABLE_TOOL_SEARCH|DISABLE_AUTOUPDATER|INITIAL_AGENT_MODE|MCP_CONNECTION_NONBLOCKING)$/, OWN],
];

/** Why a variable of this name cannot be set, as words behind "must not be …: "; null: it can. */
export function reservedVariable(name: string): string | null {
  return RESERVED.find(([pattern]) => pattern.test(name))?.[1] ?? null;
}

/** The name of an environment variable that users may set: of plain configuration, or of a secret. */
export const variableNameSchema = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, "must be letters, digits and _, not begin with a digit, and have at most 128 characters")
  .superRefine((name, context) => {
    const why = reservedVariable(name);
    if (why !== null) context.addIssue({ code: "custom", message: `must not be ${name}: ${why}` });
  });

/** Variables and their values, which are plain configuration: everybody who may read runs can read them. */
export const environmentSchema = z
  .record(variableNameSchema, z.string().max(MAX_VALUE_CHARS).refine(noNul, "must not contain NUL"))
  .refine((all) => Object.keys(all).length <= MAX_VARIABLES, `must not have more than ${MAX_VARIABLES} variables`)
  .refine(
    (all) => Object.entries(all).reduce((sum, [name, value]) => sum + name.length + value.length, 0) <= MAX_ENVIRONMENT_CHARS,
    `must not be longer than ${MAX_ENVIRONMENT_CHARS} characters`,
  );
export type Environment = z.infer<typeof environmentSchema>;

/** Variables as answers show them. */
export const environmentShownSchema = z.record(z.string(), z.string());

/** Most secrets that one run is given. */
const MAX_SECRETS = 64;

/** Names of secrets that a run is given, as environment variables of the same names. */
export const secretNamesSchema = z
  .array(variableNameSchema)
  .max(MAX_SECRETS, `must not name more than ${MAX_SECRETS} secrets`)
  .refine((names) => new Set(names).size === names.length, "must not name a secret twice");

/** False where a name stands in both: one value would hide the other. */
export const isNamedOnce = (given: {
  readonly environment?: unknown;
  readonly secrets?: readonly string[] | null | undefined;
}): boolean => {
  const plain = given.environment;
  return typeof plain !== "object" || plain === null || !(given.secrets ?? []).some((name) => Object.hasOwn(plain, name));
};
export const NAMED_TWICE = { message: "must not have names that are in environment too", path: ["secrets"] };

import { type Environment, variableNameSchema } from "@runyard/sdk/contract";
import { type Command, InvalidArgumentError } from "commander";

/** What the options say of variables and secrets; false: none any more. */
export interface VariableOptions {
  readonly env?: Environment | false;
  readonly secret?: readonly string[] | false;
}

/** Adds `--env` and `--secret`; `whose` are the runs that are given them. */
export function addVariableOptions(command: Command, whose: string): Command {
  return command
    .option(
      "--env <name=value>",
      `an environment variable of ${whose}; a name alone takes it from here; may be repeated`,
      (word: string, before?: Environment | false) => ({ ...(before === false ? {} : before), ...parseVariable(word, process.env) }),
    )
    .option("--secret <name>", `a secret that ${whose} is given, see \`runyard secrets\`; may be repeated`, collectSecret);
}

/** Options that take away what there was. */
export function addNoVariableOptions(command: Command): Command {
  return command.option("--no-env", "no such variables").option("--no-secret", "no such secrets");
}

/** The part of a request that these options make. */
export function variableRequest({ env, secret }: VariableOptions): { environment?: Environment; secrets?: string[] } {
  return {
    ...(env !== undefined && { environment: env === false ? {} : { ...env } }),
    ...(secret !== undefined && { secrets: secret === false ? [] : [...secret] }),
  };
}

/** `NAME=value`, or `NAME` for the value that it has where the command runs. */
export function parseVariable(word: string, own: NodeJS.ProcessEnv): Environment {
  const at = word.indexOf("=");
  const name = parseName(at < 0 ? word : word.slice(0, at));
  const value = at < 0 ? own[name] : word.slice(at + 1);
  if (value === undefined) throw new InvalidArgumentError(`${name} is not set here. Give its value: --env ${name}=value.`);
  return { [name]: value };
}

function collectSecret(word: string, before?: readonly string[] | false): string[] {
  return [...(before === false ? [] : (before ?? [])), parseName(word)];
}

/** The name of a variable, or words that say why it cannot be one. */
export function parseName(name: string): string {
  const parsed = variableNameSchema.safeParse(name);
  if (parsed.success) return name;
  throw new InvalidArgumentError(`${JSON.stringify(name)} ${parsed.error.issues[0]?.message ?? "is no name of a variable"}.`);
}

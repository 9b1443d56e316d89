import type { Command, Option } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

interface CompletedCommand {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly CompletedOption[];
  /** Words that its first argument can be. */
  readonly words: readonly string[];
}
interface CompletedOption {
  readonly flags: readonly string[];
  readonly summary: string;
  /** Words that its value can be; null for an option without a value, empty for any value. */
  readonly values: readonly string[] | null;
}

/** A script that completes a program's commands, their options and the values that are known. */
export function completionScript(shell: Shell, program: Command): string {
  const name = program.name();
  const commands = program.commands.map(readCommand);
  if (shell === "bash") return bashScript(name, commands);
  return shell === "zsh" ? zshScript(name, commands) : fishScript(name, commands);
}

function readCommand(one: Command): CompletedCommand {
  const help = one.createHelp();
  const argument = one.registeredArguments[0];
  const takesRun = argument?.name() === "run";
  return {
    name: one.name(),
    summary: one.description(),
    options: help.visibleOptions(one).map(readOption),
    words: argument?.argChoices ?? (takesRun ? ["last"] : one.commands.map((below) => below.name())),
  };
}

function readOption(option: Option): CompletedOption {
  const flags = [option.short, option.long].filter((flag) => flag !== undefined && flag !== null);
  const takesValue = option.required || option.optional;
  return { flags, summary: option.description, values: takesValue ? (option.argChoices ?? []) : null };
}

/** A word in single quotes, for any of the shells. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function bashScript(name: string, commands: readonly CompletedCommand[]): string {
  const cases = commands.map(({ name: word, options, words }) => {
    const flags = options.flatMap((option) => option.flags);
    const values = options
      .filter((option) => option.values !== null)
      .map((option) => {
        const pattern = option.flags.map((flag) => `${word}:${flag}`).join("|");
        return option.values?.length === 0
          ? `    ${pattern}) COMPREPLY=($(compgen -f -- "$cur")); return ;;`
          : `    ${pattern}) words=${quoted((option.values ?? []).join(" "))} ;;`;
      });
    return [...values, `    ${word}:*) words=${quoted([...words, ...flags].join(" "))} ;;`].join("\n");
  });
  return `# Completions of ${name} for bash. Use: eval "$(${name} completion bash)"
_${name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} words=''
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ${quoted([...commands.map((one) => one.name), "help", "--help", "--version"].join(" "))} -- "$cur"))
    return
  fi
  case "\${COMP_WORDS[1]}:$prev" in
${cases.join("\n")}
    help:*) words=${quoted(commands.map((one) => one.name).join(" "))} ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _${name} ${name}`;
}

function zshScript(name: string, commands: readonly CompletedCommand[]): string {
  const described = (word: string, summary: string): string => quoted(`${word.replaceAll(":", String.raw`\:`)}:${summary}`);
  const argument = (option: CompletedOption): string[] => {
    const summary = option.summary.replaceAll(/[[\]]/g, (char) => `\\${char}`);
    const value = option.values === null ? "" : `: :${option.values.length === 0 ? "_files" : `(${option.values.join(" ")})`}`;
    return option.flags.map((flag) => quoted(`${flag}[${summary}]${value}`));
  };
  const cases = commands.map((one) => {
    const words = one.words.length === 0 ? [] : [quoted(`1: :(${one.words.join(" ")})`)];
    const specs = [...one.options.flatMap(argument), ...words, quoted("*: :_files")];
    return `    ${one.name}) _arguments ${specs.join(" ")} ;;`;
  });
  return `#compdef ${name}
# Completions of ${name} for zsh. Use: eval "$(${name} completion zsh)"
_${name}() {
  if (( CURRENT == 2 )); then
    local -a commands=(${commands.map((one) => described(one.name, one.summary)).join(" ")})
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join("\n")}
  esac
}
compdef _${name} ${name}`;
}

function fishScript(name: string, commands: readonly CompletedCommand[]): string {
  // fish knows \' inside single quotes, and not the way of other shells.
  const word = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", String.raw`\'`)}'`;
  const begin = `complete -c ${name}`;
  const lines = commands.flatMap((one) => {
    const when = `-n ${word(`__fish_seen_subcommand_from ${one.name}`)}`;
    const options = one.options.map((option) => {
      const flags = option.flags.map((flag) => (flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`)).join(" ");
      const values = option.values === null ? "" : option.values.length === 0 ? " -r" : ` -x -a ${word(option.values.join(" "))}`;
      return `${begin} ${when} ${flags}${values} -d ${word(option.summary)}`;
    });
    const words = one.words.length === 0 ? [] : [`${begin} ${when} -a ${word(one.words.join(" "))}`];
    return [`${begin} -n __fish_use_subcommand -f -a ${one.name} -d ${word(one.summary)}`, ...options, ...words];
  });
  return `# Completions of ${name} for fish. Use: ${name} completion fish | source\n${lines.join("\n")}`;
}

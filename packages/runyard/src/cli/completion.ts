import { Argument, type Command } from "commander";
import { command, GROUP } from "./commands.ts";
import { completionScript, SHELLS, type Shell } from "./completion-script.ts";
import { print } from "./output.ts";

/** Made with the program whose commands it completes. */
export function completion(program: () => Command): Command {
  return command("completion", {
    summary: "Print a script that completes commands in a shell",
    group: GROUP.server,
    more: `Put the line into the shell's start-up file. For fish: ~/.config/fish/completions/runyard.fish`,
    examples: ['eval "$(runyard completion bash)"', 'eval "$(runyard completion zsh)"', "runyard completion fish | source"],
  })
    .addArgument(new Argument("<shell>").choices(SHELLS))
    .action((shell: Shell) => print(completionScript(shell, program())));
}

import { spawn } from "node:child_process";

export interface Recording {
  /** What is typed: a command line of a POSIX shell. */
  readonly line: string;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly columns: number;
}

/** Types a command line at a pseudo terminal, behind a prompt, and returns all that the terminal was sent. */
export function record({ line, cwd, env, columns }: Recording): Promise<string> {
  const session = `stty cols ${columns} rows 60; printf '\\033[2m$\\033[22m %s\\n' "$LINE"; eval "$LINE"`;
  const child = spawn("script", ["-qec", session, "/dev/null"], {
    cwd,
    env: { ...env, TERM: "xterm-256color", SHELL: "/bin/sh", LINE: line },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => resolve(output.trimEnd()));
  });
}

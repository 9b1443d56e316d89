import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { McpMessage, OpenWire } from "./client.ts";

export interface ServerProgram {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
}

/** Starts a server that speaks on its standard streams, a message a line. */
export function stdioWire({ command, args, env, cwd }: ServerProgram): OpenWire {
  return ({ onMessage, onEnd }) => {
    const child = spawn(command, [...args], { cwd, env, stdio: ["pipe", "pipe", "inherit"] });
    const end = (why: string): void => onEnd(new Error(why));
    child.once("error", (error) => end(`it could not be started: ${error.message}`));
    child.once("exit", (code, signal) => end(`it ended (${signal ?? `code ${code}`})`));
    child.stdin.on("error", () => end("it does not listen any more"));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const message = parse(line);
      if (message !== null) onMessage(message);
    });
    return {
      send: (message) =>
        new Promise((resolve, reject) => {
          child.stdin.write(`${JSON.stringify(message)}\n`, (error) => (error ? reject(error) : resolve()));
        }),
      speaks: () => undefined,
      close: () => void child.kill(),
    };
  };
}

/** Null for a line that is no message: some programs greet. */
function parse(line: string): McpMessage | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? value : null;
  } catch {
    return null;
  }
}

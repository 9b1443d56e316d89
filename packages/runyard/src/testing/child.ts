import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));

/** A TypeScript program of a test, in a process of its own. */
export interface TestChild {
  /** The first line that it printed. */
  readonly line: string;
  readonly pid: number;
  /** Ends its stdin, which ends it; rejects where it did not end well. Everything that it printed behind the first line. */
  end(): Promise<string>;
}

/** Starts such a program and waits for its first line. */
export async function startChild(file: URL, env: Readonly<Record<string, string>>): Promise<TestChild> {
  const words = ["--import", "tsx", "--conditions=runyard-source", fileURLToPath(file)];
  const child = spawn(process.execPath, words, { cwd: ROOT, env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "pipe"] });
  let complaints = "";
  child.stderr.on("data", (data: Buffer) => (complaints += data.toString()));
  const lines: string[] = [];
  const exited = exitOf(child);
  await new Promise<void>((resolve) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      lines.push(line);
      resolve();
    });
    void exited.then(() => resolve());
  });
  const [line] = lines;
  if (line === undefined) throw new Error(`The test's process did not start: ${complaints}`);
  return {
    line,
    pid: child.pid ?? 0,
    async end() {
      child.stdin.end();
      const code = await exited;
      if (code !== 0) throw new Error(`The test's process ended with ${code}: ${complaints}`);
      return lines.slice(1).join("\n");
    },
  };
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once("close", (code) => resolve(code)));
}

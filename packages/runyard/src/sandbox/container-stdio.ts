// A container's stdin, stdout and stderr: three fifos in a directory that the host and the container both see. Engines
// have a stream for this, but not one in which input ends (Podman), and theirs break when they are restarted.
import { execFileSync } from "node:child_process";
import { chownSync, closeSync, constants, mkdirSync, openSync } from "node:fs";
import { Socket } from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Mount } from "./driver.ts";

/** In a run directory. Nothing else of it is seen inside. */
const STDIO = "stdio";
/** Where a container sees it. */
const STDIO_INSIDE = "/run/runyard/stdio";
const NAMES = ["stdin", "stdout", "stderr"] as const;
const LOOK_MS = 2;

/** What connects this program's stdin, stdout and stderr with those of a container. */
export interface ContainerStdio {
  /** What the container has to be shown for it. */
  readonly mounts: readonly Mount[];
  /** Once it is made, before its start. */
  attach(): Promise<void>;
  /** Once it was started. Rejects where it cannot be connected. */
  begin(): Promise<void>;
  /** Resolves when all who could write are gone, and what they wrote was passed on. */
  readonly said: Promise<unknown>;
  /** Once it has ended, or will not begin: nothing more goes in. */
  close(): void;
}

/** The words that start a command with these as its stdio. It waits until the host has opened its side; stdin comes last. */
export function withStdio(argv: readonly string[]): string[] {
  const [stdin, stdout, stderr] = NAMES.map((name) => `${STDIO_INSIDE}/${name}`);
  return ["/bin/sh", "-c", `exec >${stdout} 2>${stderr} <${stdin} && exec "$@"`, "runyard-stdio", ...argv];
}

/** By fifos in a run directory, which are made for the user that the command is. */
export function fifoStdio(runDir: string, owner: { readonly uid: number; readonly gid: number }): ContainerStdio {
  const dir = makeFifos(runDir, owner);
  const outputs = [passOutput(dir, "stdout"), passOutput(dir, "stderr")];
  const over = new AbortController();
  return {
    mounts: [{ source: dir, target: STDIO_INSIDE, mode: "ro" }],
    attach: () => Promise.resolve(),
    begin: async () => {
      await passInput(dir, over.signal);
      for (const output of outputs) output.release();
    },
    said: Promise.all(outputs.map(({ ended }) => ended)),
    close: () => over.abort(),
  };
}

function makeFifos(runDir: string, owner: { readonly uid: number; readonly gid: number }): string {
  const dir = path.join(runDir, STDIO);
  mkdirSync(dir, { mode: 0o755 });
  const files = NAMES.map((name) => path.join(dir, name));
  execFileSync("mkfifo", ["-m", "600", ...files], { env: { PATH: "/usr/local/bin:/usr/bin:/bin" } });
  if (process.getuid?.() === 0) for (const file of files) chownSync(file, owner.uid, owner.gid);
  return dir;
}

/** What a command writes. */
interface Output {
  /** To be called once the command has opened it, or never will. */
  release(): void;
  /** Resolves when all who could write are gone, and what they wrote was passed on. */
  readonly ended: Promise<void>;
}

/** Passes on what comes by a fifo, as fast as it is taken; where nobody takes it any more, it is thrown away. */
function passOutput(dir: string, name: "stdout" | "stderr"): Output {
  const file = path.join(dir, name);
  const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  // A reader that no writer has come to yet would be told that there is nothing more.
  let held: number | null = openSync(file, constants.O_WRONLY | constants.O_NONBLOCK);
  const source = new Socket({ fd, readable: true, writable: false });
  const target = process[name];
  const ended = new Promise<void>((resolve) => source.on("error", () => undefined).on("close", () => resolve()));
  target.on("error", () => source.resume());
  source.pipe(target, { end: false });
  const release = (): void => {
    if (held !== null) closeSync(held);
    held = null;
  };
  return { release, ended };
}

/** Passes on this program's stdin, and its end. Resolves once the command has opened it, and before that its outputs; `signal`: it never will. */
async function passInput(dir: string, signal: AbortSignal): Promise<void> {
  const fd = await openOnceRead(path.join(dir, "stdin"), signal);
  if (fd === null) return;
  const target = new Socket({ fd, readable: false, writable: true });
  target.on("error", () => process.stdin.destroy()); // the command has closed it
  process.stdin.on("error", () => target.end()).pipe(target);
}

async function openOnceRead(file: string, signal: AbortSignal): Promise<number | null> {
  for (; !signal.aborted; await sleep(LOOK_MS)) {
    try {
      return openSync(file, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENXIO") throw error;
    }
  }
  return null;
}

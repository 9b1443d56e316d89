// A container of which a person's terminal is the terminal: keys, what is shown, and the size go through the engine.
import { execFileSync } from "node:child_process";
import { request } from "node:http";
import type { Socket } from "node:net";
import type { ContainerStdio } from "./container-stdio.ts";
import { askEngine, awayError, type ContainerRef, pathOf } from "./docker-engine.ts";

/** Attaches to a container that has a terminal and was not started yet. */
function attachTo({ name, ...place }: ContainerRef): Promise<{ readonly socket: Socket; readonly head: Buffer }> {
  return new Promise((resolve, reject) => {
    const asked = request({
      socketPath: place.socketPath,
      method: "POST",
      path: pathOf(place, `/containers/${name}/attach?stream=1&stdin=1&stdout=1&stderr=1`),
      headers: { host: "engine", connection: "Upgrade", upgrade: "tcp", "content-length": 0 },
      agent: false,
    });
    asked.on("error", (error) => reject(awayError(place, error.message, error)));
    asked.on("upgrade", (_, socket, head) => resolve({ socket, head }));
    asked.on("response", (response) => {
      response.resume();
      reject(new Error(`the engine gives no terminal of it (${response.statusCode})`));
    });
    asked.end();
  });
}

/** Asks or sets what this program's terminal does by itself. */
function stty(...words: readonly string[]): string {
  return execFileSync("stty", words, { stdio: ["inherit", "pipe", "ignore"], encoding: "utf8" });
}

/** The words that start a command once the terminal has its size: a program would not see that it had none before. */
export function onceSized(argv: readonly string[]): string[] {
  return ["/bin/sh", "-c", 'read -r _ && exec "$@"', "runyard-terminal", ...argv];
}

/** By this program's own terminal, which is the container's from its start to its end. */
export function terminalStdio(container: ContainerRef): ContainerStdio {
  let before: string | null = null;
  let stream: Socket | null = null;
  let tell = (): void => undefined;
  const said = new Promise<void>((resolve) => (tell = resolve));
  const resize = async (): Promise<void> => {
    const { columns, rows } = process.stdout;
    const path = `/containers/${container.name}/resize?h=${rows}&w=${columns}`;
    await askEngine(container, { method: "POST", path }).catch(() => undefined); // it has ended, or is shown in another size
  };
  const follow = (): void => void resize();
  return {
    mounts: [],
    attach: async () => {
      const { socket, head } = await attachTo(container);
      stream = socket;
      socket.on("error", () => undefined).on("close", tell);
      showFromSecondLine(socket, head);
      // Not by Node: its raw mode still ends each line anew, which moves what a full-screen program draws.
      before = stty("-g").trim();
      stty("raw", "-echo");
    },
    begin: async () => {
      process.on("SIGWINCH", follow);
      await resize();
      stream?.write("\n");
      if (stream !== null) process.stdin.pipe(stream);
    },
    said,
    close: () => {
      process.off("SIGWINCH", follow);
      if (before !== null) stty(before);
    },
  };
}

/** The first line is the echo of the one by which the command was begun. */
function showFromSecondLine(socket: Socket, head: Buffer): void {
  let isBegun = false;
  const show = (bytes: Buffer): void => {
    const end = isBegun ? 0 : bytes.indexOf("\n") + 1;
    if (!isBegun && end === 0) return;
    isBegun = true;
    if (!process.stdout.write(bytes.subarray(end))) {
      socket.pause();
      process.stdout.once("drain", () => socket.resume());
    }
  };
  show(head);
  socket.on("data", show);
}

// A container of which a person's terminal is the terminal: keys, what is shown, and the size go through the engine.
import { request } from "node:http";
import type { Socket } from "node:net";
import type { ContainerStdio } from "./container-stdio.ts";
import { askEngine, type ContainerRef, EngineAwayError } from "./docker-engine.ts";

/** Attaches to a container that has a terminal and was not started yet. */
function attachTo({ name, socketPath, apiVersion }: ContainerRef): Promise<{ readonly socket: Socket; readonly head: Buffer }> {
  return new Promise((resolve, reject) => {
    const asked = request({
      socketPath,
      method: "POST",
      path: `/v${apiVersion}/containers/${name}/attach?stream=1&stdin=1&stdout=1&stderr=1`,
      headers: { host: "engine", connection: "Upgrade", upgrade: "tcp", "content-length": 0 },
      agent: false,
    });
    asked.on("error", (error) => reject(new EngineAwayError(`The container engine at ${socketPath} does not answer: ${error.message}`)));
    asked.on("upgrade", (_, socket, head) => resolve({ socket, head }));
    asked.on("response", (response) => {
      response.resume();
      reject(new Error(`the engine gives no terminal of it (${response.statusCode})`));
    });
    asked.end();
  });
}

/** By this program's own terminal, which is the container's from its start to its end. */
export function terminalStdio(container: ContainerRef): ContainerStdio {
  let tell = (): void => undefined;
  const said = new Promise<void>((resolve) => (tell = resolve));
  const resize = (): void => {
    const { columns, rows } = process.stdout;
    const path = `/containers/${container.name}/resize?h=${rows}&w=${columns}`;
    askEngine(container, { method: "POST", path }).catch(() => undefined); // it has ended, or is shown in another size
  };
  return {
    mounts: [],
    attach: async () => {
      const { socket, head } = await attachTo(container);
      socket.on("error", () => undefined).on("close", tell);
      process.stdout.write(head);
      socket.pipe(process.stdout, { end: false });
      process.stdin.setRawMode(true);
      process.stdin.pipe(socket);
    },
    begin: () => {
      process.on("SIGWINCH", resize);
      resize();
      return Promise.resolve();
    },
    said,
    close: () => {
      process.off("SIGWINCH", resize);
      process.stdin.setRawMode(false);
    },
  };
}

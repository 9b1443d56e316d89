import { chmodSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { portFile } from "./files.ts";

const RETRY_MS = 20;
/** How long the kept port is waited for: the gateway before this one gives it up as soon as it is told to leave. */
const PORT_WAIT_MS = 5_000;

/** Listens on a unix socket that only this user can open. */
export async function listenOnSocket(server: Server, socket: string): Promise<void> {
  // Left over from a process that had the same pid.
  rmSync(socket, { force: true });
  await listen(server, () => server.listen(socket));
  chmodSync(socket, 0o600);
}

/** Listens on 127.0.0.1, on the port that gateways of this directory keep; another one only when that stays taken. Resolves with the port. */
export async function listenOnKeptPort(server: Server, options: { gatewayDir: string; log: (message: string) => void }): Promise<number> {
  const { gatewayDir, log } = options;
  const kept = readKeptPort(gatewayDir);
  const giveUpAt = Date.now() + PORT_WAIT_MS;
  for (let port = kept; ;) {
    try {
      await listen(server, () => server.listen(port, "127.0.0.1"));
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
      if (Date.now() < giveUpAt) {
        await wait(RETRY_MS);
        continue;
      }
      log(
        `port ${port} is taken by another program, so another port is used; agents without isolation that run now lose their way to the model`,
      );
      port = 0;
    }
  }
  const { port } = server.address() as AddressInfo;
  if (port !== kept) keepPort(gatewayDir, port);
  return port;
}

function readKeptPort(gatewayDir: string): number {
  const file = portFile(gatewayDir);
  const port = existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : 0;
}

function keepPort(gatewayDir: string, port: number): void {
  const draft = `${portFile(gatewayDir)}.${process.pid}`;
  writeFileSync(draft, String(port), { mode: 0o600 });
  renameSync(draft, portFile(gatewayDir));
}

async function listen(server: Server, start: () => void): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const onError = (error: Error): void => {
      server.off("listening", onListening);
      reject(error);
    };
    const onListening = (): void => {
      server.off("error", onError);
      resolve();
    };
    server.once("error", onError);
    server.once("listening", onListening);
    start();
  });
}

import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { waitFor } from "./lab.ts";

/** Things of the host that are worth stealing, all made for a test. */
export interface Targets {
  /** The words by which each theft is proven. */
  readonly secret: string;
  readonly secretFile: string;
  readonly outsideDir: string;
  readonly shownDir: string;
  readonly socketFile: string;
  readonly abstractSocket: string;
  readonly tcpPort: number;
  readonly processWord: string;
  close(): Promise<void>;
}

function listen(server: Server, where: { path: string } | { port: number; host: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, resolve);
  });
}

/** Makes the targets in a directory: files, listeners on every kind of socket, and a process with a secret in its environment and argv. */
export async function makeTargets(root: string): Promise<Targets> {
  const secret = `decoy-${process.pid}-${Date.now()}`;
  const below = (name: string): string => path.join(root, name);
  for (const name of ["outside", "shown", "private"]) mkdirSync(below(name));
  writeFileSync(below("private/secret"), `${secret}\n`);
  const abstractSocket = `runyard-test-${process.pid}`;
  const servers: Server[] = [];
  for (const where of [{ port: 0, host: "127.0.0.1" }, { path: below("private/socket") }]) {
    const server = createServer((socket) => socket.end(`${secret}\n`).on("error", () => {}));
    await listen(server, where);
    servers.push(server);
  }
  const processWord = `sleep-${secret}`;
  const env = { ...process.env, DECOY_SECRET: secret };
  const children: ChildProcess[] = [
    spawn("sh", ["-c", "while :; do sleep 1; done", processWord], { stdio: "ignore", env }),
    // Node cannot listen on an abstract socket.
    spawn("socat", [`ABSTRACT-LISTEN:${abstractSocket},fork`, `OPEN:${below("private/secret")},rdonly`], { stdio: "ignore" }),
  ];
  await waitFor(() => readFileSync("/proc/net/unix", "utf8").includes(`@${abstractSocket}\n`));
  return {
    secret,
    secretFile: below("private/secret"),
    outsideDir: below("outside"),
    shownDir: below("shown"),
    socketFile: below("private/socket"),
    abstractSocket,
    tcpPort: (servers[0]!.address() as AddressInfo).port,
    processWord,
    close: async () => {
      for (const child of children) child.kill("SIGKILL");
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

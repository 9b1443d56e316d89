import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
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
  /** The process whose word that is. */
  readonly decoyPid: number;
  /** A file of which only root can read what another user has in it. */
  readonly othersFile: string;
  readonly tokenFile: string;
  /** Of a run beside it. */
  readonly otherHome: string;
  /** A cache of git, as runs borrow objects from it. */
  readonly cacheDir: string;
  /** System V shared memory with the secret in it, by its id. */
  readonly sharedMemory: number;
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
  const others = below("private/others");
  const isRoot = process.getuid?.() === 0;
  writeFileSync(others, `${secret}\n`, { mode: 0o600 });
  if (isRoot) chownSync(others, 65_534, 65_534);
  const [home, otherHome, cacheDir] = [
    below("runyard-home"),
    below("runyard-home/runs/run_other/1/home"),
    below("runyard-home/cache/x.git"),
  ];
  for (const dir of [path.join(otherHome, ".config"), path.join(cacheDir, "objects")]) mkdirSync(dir, { recursive: true });
  writeFileSync(path.join(home, "admin-token"), `${secret}\n`, { mode: 0o600 });
  writeFileSync(path.join(otherHome, ".config/login"), `${secret}\n`);
  for (const name of ["HEAD", "config"]) writeFileSync(path.join(cacheDir, name), "clean\n");
  const perl = (program: string, ...words: string[]): string => execFileSync("perl", ["-e", program, "--", ...words], { encoding: "utf8" });
  const sharedMemory = Number(perl("my $id = shmget(0, 64, 01600); shmwrite($id, shift, 0, 64); print int($id)", secret));
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
    decoyPid: children[0]!.pid!,
    othersFile: others,
    tokenFile: path.join(home, "admin-token"),
    otherHome,
    cacheDir,
    sharedMemory,
    close: async () => {
      perl("shmctl(shift() + 0, 0, 0)", String(sharedMemory));
      for (const child of children) child.kill("SIGKILL");
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

import { existsSync, readdirSync } from "node:fs";
import path from "node:path";

/** Where a run's model calls are journalled and recorded. */
export function runDir(gatewayDir: string, runId: string): string {
  return path.join(gatewayDir, "runs", runId);
}

export function exchangesFile(gatewayDir: string, runId: string): string {
  return path.join(runDir(gatewayDir, runId), "exchanges.ndjson");
}

/** What the running gateway tells about itself (JSON, 0600). */
export function gatewayFile(gatewayDir: string): string {
  return path.join(gatewayDir, "gateway.json");
}

/** The TCP port that each gateway of this directory takes in its turn. */
export function portFile(gatewayDir: string): string {
  return path.join(gatewayDir, "port");
}

export function doorSocket(doorDir: string): string {
  return path.join(doorDir, "sock");
}

/** The name under which a process binds a socket before it takes the public one. */
export function privateName(socket: string, pid: number): string {
  return `${socket}.${pid}`;
}

/** The sockets of processes that have not taken this public name, or never will. */
export function privateSockets(socket: string): string[] {
  const dir = path.dirname(socket);
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .filter((name) => name.startsWith(`${path.basename(socket)}.`))
    .map((name) => path.join(dir, name));
}

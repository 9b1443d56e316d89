import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import type { ExchangeSide } from "@runyard/sdk/contract";

/** Where a run's model calls are journalled and recorded. */
export function runDir(gatewayDir: string, runId: string): string {
  return path.join(gatewayDir, "runs", runId);
}

export function exchangesFile(gatewayDir: string, runId: string): string {
  return path.join(runDir(gatewayDir, runId), "exchanges.ndjson");
}

/** What was sent, or answered, in one call of a run. */
export function bodyFile(gatewayDir: string, body: { readonly runId: string; readonly id: string; readonly side: ExchangeSide }): string {
  return path.join(runDir(gatewayDir, body.runId), `${body.id}.${body.side === "request" ? "request.json" : "response"}`);
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

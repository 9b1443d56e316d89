import { renameSync, writeFileSync } from "node:fs";
import type { Server } from "node:http";
import { controlClient } from "./control-client.ts";
import { doorSocket, gatewayFile, privateName } from "./files.ts";
import { listenOnKeptPort, listenOnSocket } from "./listeners.ts";
import { claimLife, livingLives, settleDeadLives } from "./lives.ts";
import { identifyProcess, signalProcess } from "../process-identity.ts";
import { CONTROL_PROTOCOL, GATEWAY_VERSION } from "./protocol.ts";
import { createRecorder, type Recorder } from "./recorder.ts";
import type { Registry } from "./registry.ts";

export interface PlaceOptions {
  readonly gatewayDir: string;
  readonly doorDir: string;
  readonly controlSocket: string;
  /** Random, in hex; the second half of the ids of this process's calls. */
  readonly tag: string;
  readonly log: (message: string) => void;
}

/** What a process has once it is the gateway. */
export interface Place {
  /** Of its life (lives.ts). */
  readonly number: number;
  readonly recorder: Recorder;
  /** Null until the gateway before has given the port up. */
  tcpPort(): number | null;
}

export interface Taking {
  /** The number of the life that is to be followed. */
  readonly replaces: number;
  readonly registry: Registry;
  readonly servers: { readonly door: Server; readonly tcp: Server };
  /** Called when the place is won, before the first request can come. */
  readonly onPlace: (place: Place) => void;
}

/**
 * Makes this process the gateway: learns what the present one knows, takes its names, tells it to leave,
 * and takes over its port as soon as it is free. False, with nothing changed, when another process was faster.
 */
export async function takePlace(options: PlaceOptions, { replaces, registry, servers, onPlace }: Taking): Promise<boolean> {
  const { gatewayDir, doorDir, controlSocket, tag, log } = options;
  const identity = identifyProcess(process.pid);
  if (identity === null) throw new Error("the gateway cannot find out its own start time");
  await inheritState(controlSocket, registry);
  const privateDoor = privateName(doorSocket(doorDir), process.pid);
  await listenOnSocket(servers.door, privateDoor);

  // From here to the signal nothing waits, so that no other process of this kind gets in between.
  const number = replaces + 1;
  if (!claimLife(gatewayDir, number, { process: identity, tag })) return false;
  settleDeadLives(gatewayDir, number);
  let tcpPort: number | null = null;
  onPlace({ number, recorder: createRecorder({ gatewayDir, number, tag, log }), tcpPort: () => tcpPort });
  renameSync(privateDoor, doorSocket(doorDir));
  renameSync(privateName(controlSocket, process.pid), controlSocket);
  for (const life of livingLives(gatewayDir)) if (life.tag !== tag) signalProcess(life.process, "SIGTERM");

  tcpPort = await listenOnKeptPort(servers.tcp, { gatewayDir, log });
  writeGatewayFile(gatewayDir, { ...identity, version: GATEWAY_VERSION, protocol: CONTROL_PROTOCOL, tcpPort });
  log(`gateway number ${number} serves at ${doorSocket(doorDir)} and on port ${tcpPort}`);
  return true;
}

/** After a crash there is nobody to ask: then the server tells everything. */
async function inheritState(controlSocket: string, registry: Registry): Promise<void> {
  try {
    registry.inherit(await controlClient(controlSocket).state());
  } catch {
    // Nobody there, or one whose words this version does not know.
  }
}

/** For people, and for whoever wants to end the gateway without its help. */
function writeGatewayFile(gatewayDir: string, content: Readonly<Record<string, unknown>>): void {
  const draft = `${gatewayFile(gatewayDir)}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(content)}\n`, { mode: 0o600 });
  renameSync(draft, gatewayFile(gatewayDir));
}

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createControl } from "./control.ts";
import { createDoor, type Door } from "./door.ts";
import { openExpectedTokens } from "./expected-tokens.ts";
import { privateName } from "./files.ts";
import { listenOnSocket } from "./listeners.ts";
import { isMcpListening } from "./mcp.ts";
import { createLedger } from "./ledger.ts";
import { newestLife, settleDeadLives } from "./lives.ts";
import { type Place, type PlaceOptions, takePlace } from "./place.ts";
import { CONTROL_PROTOCOL, GATEWAY_VERSION, type GatewayHealth } from "./protocol.ts";
import { createModelLists } from "./provider-models.ts";
import { createRegistry } from "./registry.ts";
import { createReplays } from "./replay.ts";
import { startScriptedServer } from "./scripted/server.ts";

/** How long a process without a name waits to be given one: its starter may have died. */
const STANDBY_MS = 30_000;
/** How often a gateway looks whether it still is the gateway, and tidies up behind others. */
const LOOK_AROUND_MS = 5_000;
/** How long a leaving gateway still takes connections that were made before its socket lost its name. */
const LAST_ACCEPT_MS = 100;
const LEAVE_POLL_MS = 50;

export interface GatewayOptions extends PlaceOptions {
  readonly programHash: string;
  readonly exit: (code: number) => void;
}

/**
 * Serves the control API under a private name, until it is told to take the gateway's place; then the
 * doors too. `leave` finishes the calls under way and exits; a second `leave` breaks them off.
 */
export async function startGateway(options: GatewayOptions): Promise<{ leave(reason: string): void }> {
  const { gatewayDir, controlSocket, programHash, log } = options;
  const registry = createRegistry(openExpectedTokens(gatewayDir));
  let place: Place | null = null;
  const ledger = createLedger(gatewayDir);
  const lists = createModelLists();
  const door = createDoor({
    registry,
    recorder: () => place?.recorder ?? null,
    ledger,
    scripted: once(startScriptedServer),
    lists,
    replays: createReplays(gatewayDir),
    log,
  });
  const active = new Set<ServerResponse>();
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    active.add(response);
    response.once("close", () => active.delete(response));
    door.handle(request, response);
  };
  const health = (): GatewayHealth => ({
    pid: process.pid,
    version: GATEWAY_VERSION,
    protocol: CONTROL_PROTOCOL,
    programHash,
    tcpPort: place?.tcpPort() ?? null,
    openExchanges: door.openExchanges,
    runs: registry.runIds(),
  });
  const take = async (replaces: number): Promise<boolean> => {
    try {
      const taken = await takePlace(options, { replaces, registry, servers, onPlace: (got) => (place = got) });
      clearTimeout(standby);
      if (taken) setInterval(lookAround, LOOK_AROUND_MS);
      else leaving.begin("another gateway was faster");
      return taken;
    } catch (error) {
      leaving.begin(`it could not take the gateway's place: ${String(error)}`);
      throw error;
    }
  };
  const servers = {
    door: createServer(serve),
    tcp: createServer(serve),
    control: createServer(createControl({ registry, lists, health, take })),
  };
  for (const server of [servers.door, servers.tcp]) server.on("connect", door.egress.tunnel);
  const leaving = createLeaving({ options, servers, active, door, place: () => place });

  function lookAround(): void {
    if (place === null) return;
    place.recorder.retry();
    // Also when the directory was removed under it.
    if (newestLife(gatewayDir) !== place.number) leaving.begin("it is not the newest gateway any more");
    else settleDeadLives(gatewayDir, place.number);
  }

  const standby = setTimeout(() => leaving.begin("nobody gave it the gateway's place"), STANDBY_MS);
  await listenOnSocket(servers.control, privateName(controlSocket, process.pid));
  return {
    leave(reason) {
      if (!leaving.begin(reason)) leaving.breakOff();
    },
  };
}

interface LeavingOptions {
  readonly options: GatewayOptions;
  readonly servers: { readonly door: Server; readonly tcp: Server; readonly control: Server };
  readonly active: ReadonlySet<ServerResponse>;
  readonly door: Door;
  readonly place: () => Place | null;
}

interface Leaving {
  /** Takes nothing new, finishes the calls under way and exits. False when that had begun before: nothing changes then. */
  begin(reason: string): boolean;
  /** Ends the calls under way. */
  breakOff(): void;
}

function createLeaving({ options, servers, active, door, place }: LeavingOptions): Leaving {
  const { log, exit } = options;
  let hasBegun = false;
  return {
    begin(reason) {
      if (hasBegun) return false;
      hasBegun = true;
      log(`leaving (${reason}), ${door.openExchanges} model calls under way`);
      // At once: the next gateway waits for the port.
      servers.tcp.close();
      servers.control.close();
      // They have no end of their own, and are opened again at the next gateway.
      for (const response of active) if (isMcpListening(response.req)) response.destroy();
      const lastClose = (): void => {
        servers.control.closeAllConnections();
        servers.door.close();
      };
      // Behind one more look at the sockets: a process that got no time meanwhile has not taken what came.
      setTimeout(() => setImmediate(lastClose), LAST_ACCEPT_MS);
      setInterval(() => {
        const recorder = place()?.recorder;
        if (servers.door.listening || active.size > 0 || door.openExchanges > 0 || door.egress.open > 0 || (recorder?.openBodies ?? 0) > 0)
          return;
        if (recorder?.finish() === false) log("the ends of some model calls could not be written");
        exit(0);
      }, LEAVE_POLL_MS);
      return true;
    },
    breakOff() {
      for (const response of active) response.destroy();
      door.egress.breakOff();
    },
  };
}

/** Starts something when it is first needed. */
function once<T>(start: () => Promise<T>): () => Promise<T> {
  let started: Promise<T> | undefined;
  return () => (started ??= start());
}

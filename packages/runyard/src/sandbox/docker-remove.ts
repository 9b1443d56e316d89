import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DIRECTORY_LABEL, HOME_LABEL } from "./docker-container.ts";
import { askEngine, complaintOf, type ContainerRef, type EngineAddress, EngineAwayError, removeContainer } from "./docker-engine.ts";
import { CONTAINER, CONTAINER_ENDED, CONTAINER_MADE, CONTAINER_REMOVED, isShimAlive, readIfThere } from "./run-directory.ts";

/** How long an engine may take with a container whose making nobody waited for. */
const IN_DOUBT_MS = 2_000;
const LOOK_MS = 50;
const LIMIT_MS = 30_000;

/** From here on nobody asks the engine for the container of a run directory, if it can have one. */
export function noteRemoved(dir: string): void {
  if (existsSync(path.join(dir, CONTAINER))) writeFileSync(path.join(dir, CONTAINER_REMOVED), "");
}

/** Where an engine may have a container of a run directory; null: it has none. */
function containerOf(dir: string): ContainerRef | null {
  const text = existsSync(path.join(dir, CONTAINER_REMOVED)) ? null : readIfThere(path.join(dir, CONTAINER));
  return text === null ? null : (JSON.parse(text) as ContainerRef);
}

/**
 * Waits for a moment until a container that is being made is there: nobody can remove it before, and whoever makes it is
 * ended next.
 */
export async function awaitContainer(dir: string): Promise<void> {
  if (containerOf(dir) === null) return;
  const isMade = (): boolean => [CONTAINER_MADE, CONTAINER_ENDED].some((name) => existsSync(path.join(dir, name)));
  for (const end = Date.now() + IN_DOUBT_MS; !isMade() && isShimAlive(dir) && Date.now() < end;) await sleep(5);
}

/**
 * Removes the container of a run directory, whose own processes have ended, with everything in it. Does nothing where
 * there is none. Asks again for as long as the engine does not answer; throws EngineAwayError after 30 s.
 */
export async function removeContainerOf(dir: string): Promise<void> {
  const container = containerOf(dir);
  if (container === null) return;
  const begin = Date.now();
  // A making that was broken off may come to its end behind this.
  const doubtEnd = existsSync(path.join(dir, CONTAINER_MADE)) ? begin : begin + IN_DOUBT_MS;
  for (let pause = LOOK_MS; ; await sleep(pause)) {
    try {
      const state = await removeContainer(container);
      if (state === "removed" || (state === "absent" && Date.now() >= doubtEnd)) return noteRemoved(dir);
      pause = LOOK_MS;
    } catch (error) {
      if (Date.now() - begin > LIMIT_MS) throw error;
      if (!(error instanceof EngineAwayError)) pause = LOOK_MS;
      else pause = Math.min(pause * 2, 1_000);
    }
  }
}

/**
 * Processes of this machine in the container of a run directory: its id names their control groups. An engine that was
 * restarted says that a container is gone while what was in it is still dying.
 */
export function processesOfContainer(dir: string): number[] {
  const id = readIfThere(path.join(dir, CONTAINER_MADE)) ?? "";
  if (id === "") return [];
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  // Podman's own process beside a container is in a group with the same id, and says what it is there.
  const isInside = (line: string): boolean => line.includes(id) && !line.includes("conmon");
  return pids.filter((pid) => groupsOf(pid).split("\n").some(isInside)).map(Number);
}

function groupsOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, "utf8");
  } catch {
    return ""; // it has ended
  }
}

/**
 * Removes the containers of a home whose steps are over, for example because whoever watched them was killed. Returns
 * their names. Throws EngineAwayError.
 */
export async function removeStrayContainers(place: EngineAddress, homeId: string): Promise<string[]> {
  const filters = encodeURIComponent(JSON.stringify({ label: [`${HOME_LABEL}=${homeId}`] }));
  const answer = await askEngine(place, { method: "GET", path: `/containers/json?all=1&filters=${filters}` });
  if (answer.status !== 200) throw new Error(`The containers of this home could not be listed: ${complaintOf(answer)}`);
  const removed: string[] = [];
  for (const { Id: id, Names: names, Labels: labels } of answer.body as readonly ListedContainer[]) {
    const dir = labels?.[DIRECTORY_LABEL];
    // A container is made by a process whose shim lives longer than it.
    if (dir !== undefined && isShimAlive(dir)) continue;
    await removeContainer({ ...place, name: id });
    removed.push((names?.[0] ?? id).replace(/^\//, ""));
  }
  return removed;
}

interface ListedContainer {
  readonly Id: string;
  readonly Names?: readonly string[] | null;
  readonly Labels?: Readonly<Record<string, string>> | null;
}

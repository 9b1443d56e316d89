// The program that stands for one container on the host: its stdin, stdout, stderr and end are the container's. The
// shim starts it in a run directory, with a ContainerJob on descriptor 9. It outlives the server.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { resolve as resolvePath } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseCgroupMounts, parseOwnGroups, groupDirectory } from "./cgroup-host.ts";
import { OOM_FILE, OUTER_GROUPS_FILE, readOutOfMemoryKills } from "./cgroup.ts";
import { meetCommandLine, passInterrupts } from "./container-attended.ts";
import { type ContainerStdio, fifoStdio } from "./container-stdio.ts";
import { terminalStdio } from "./container-terminal.ts";
import { bindMount, DIRECTORY_LABEL } from "./docker-container.ts";
import type { ContainerJob } from "./docker-driver.ts";
import { askEngine, complaintOf, type ContainerRef, type EngineAnswer, removeContainer } from "./docker-engine.ts";
import { noteRemoved } from "./docker-remove.ts";
import { CONTAINER_ENDED, CONTAINER_MADE, readShimPid } from "./run-directory.ts";

/** What a shell says of a command that could not be started. */
const NOT_STARTED = 126;
/** In the run directory, for engines that read it there. */
const SYSCALL_PROFILE = "seccomp.json";
const CREATE_TIMEOUT_MS = 120_000;
/** How long output is waited for that was written before the end. */
const LAST_OUTPUT_MS = 10_000;
const REMOVE_TRIES = 20;

/** The container was refused before anything of it had begun. */
class NotStartedError extends Error {
  override readonly name = "NotStartedError";
}

async function act(container: ContainerRef, path: string, body?: unknown): Promise<EngineAnswer> {
  return askEngine(container, { method: "POST", path, body, timeoutMs: CREATE_TIMEOUT_MS });
}

/** The filter of system calls as this engine takes it. */
function syscallOption({ syscalls }: ContainerJob): string[] {
  if (syscalls === null) return [];
  const text = JSON.stringify(syscalls.profile);
  if (syscalls.as === "text") return [`seccomp=${text}`];
  writeFileSync(SYSCALL_PROFILE, text, { mode: 0o600 });
  return [`seccomp=${resolvePath(SYSCALL_PROFILE)}`];
}

/** Docker has a status for it, Podman only words. */
function isNameTaken(answer: EngineAnswer): boolean {
  return answer.status === 409 || (answer.status === 500 && complaintOf(answer).includes("already in use"));
}

async function create(job: ContainerJob, stdio: ContainerStdio): Promise<void> {
  const { container, config } = job;
  const { Mounts: mounts, SecurityOpt: options } = config.HostConfig;
  const body = {
    ...config,
    Labels: { ...config.Labels, [DIRECTORY_LABEL]: process.cwd() },
    HostConfig: {
      ...config.HostConfig,
      Mounts: [...mounts, ...stdio.mounts.map(bindMount)],
      SecurityOpt: [...options, ...syscallOption(job)],
    },
  };
  const path = `/containers/create?name=${container.name}`;
  let answer = await act(container, path, body);
  // Of a step that was begun before, under the same name, nobody waits for the end.
  for (let tries = 0; isNameTaken(answer) && tries < REMOVE_TRIES; tries += 1) {
    await removeContainer(container);
    answer = await act(container, path, body);
    if (isNameTaken(answer)) await sleep(50);
  }
  if (answer.status !== 201) throw new NotStartedError(`The container could not be made: ${complaintOf(answer)}`);
  const { Id: id } = answer.body as { readonly Id?: string };
  writeFileSync(CONTAINER_MADE, id ?? "");
}

/** Has the engine watch for the end of a container that was not started yet; `ended` is its code, or rejects where the connection broke. */
function watchForEnd(container: ContainerRef): Promise<{ readonly ended: Promise<number> }> {
  return new Promise((resolve, reject) => {
    const path = `/containers/${container.name}/wait?condition=next-exit`;
    // It begins to answer once it watches: an end that comes at once is not missed then.
    const onAnswering = (): void => resolve({ ended });
    const ended = askEngine(container, { method: "POST", path, timeoutMs: null, onAnswering }).then((answer) => {
      const { StatusCode: code } = (answer.body ?? {}) as { StatusCode?: number };
      if (answer.status !== 200 || code === undefined) throw new Error(`The end of the container is not known: ${complaintOf(answer)}`);
      return code;
    });
    ended.catch(reject);
  });
}

interface ContainerState {
  readonly Pid?: number;
  readonly OOMKilled?: boolean;
}

async function stateOf(container: ContainerRef): Promise<ContainerState> {
  const answer = await askEngine(container, { method: "GET", path: `/containers/${container.name}/json` });
  if (answer.status !== 200) throw new Error(`The state of the container is not known: ${complaintOf(answer)}`);
  return (answer.body as { State?: ContainerState }).State ?? {};
}

/** Notes the control groups that the engine made, where they can be seen: what the container uses is read there. */
async function noteGroups(container: ContainerRef): Promise<void> {
  const { Pid: pid } = await stateOf(container);
  if (!pid) return;
  const own = parseOwnGroups(readFileSync(`/proc/${pid}/cgroup`, "utf8"));
  const groups = parseCgroupMounts(readFileSync("/proc/self/mountinfo", "utf8")).flatMap((mount) => {
    const names = mount.version === 2 ? [""] : mount.controllers;
    const found = names.map((name) => own.get(name)).find((group) => group !== undefined && group !== "/");
    return found === undefined ? [] : [groupDirectory(mount, found)];
  });
  writeFileSync(`${OUTER_GROUPS_FILE}.tmp`, [...new Set(groups)].map((group) => `${group}\n`).join(""), { mode: 0o600 });
  renameSync(`${OUTER_GROUPS_FILE}.tmp`, OUTER_GROUPS_FILE);
}

/** What the kernel has ended for its memory, as far as the groups are still there. */
function noteKills(): void {
  if (readOutOfMemoryKills(".") > 0) noteOutOfMemory();
}

function noteOutOfMemory(): void {
  writeFileSync(OOM_FILE, "1\n", { mode: 0o600 });
}

async function remove(container: ContainerRef): Promise<void> {
  for (let tries = 0; tries < REMOVE_TRIES; tries += 1) {
    if ((await removeContainer(container)) !== "going") return noteRemoved(".");
    await sleep(50);
  }
}

async function run(job: ContainerJob): Promise<number> {
  const { container } = job;
  if (job.attended !== null) await attend(container);
  const stdio = job.attended === "terminal" ? terminalStdio(container) : fifoStdio(process.cwd(), job.owner);
  await create(job, stdio);
  await stdio.attach();
  const { ended } = await watchForEnd(container);
  const started = await act(container, `/containers/${container.name}/start`);
  if (started.status >= 300) {
    stdio.close();
    await remove(container);
    throw new NotStartedError(`The container could not be started: ${complaintOf(started)}`);
  }
  const begun = stdio.begin();
  const groups = noteGroups(container).catch(() => undefined); // then nobody knows what it uses
  // Podman may not tell, and its groups go as soon as the container has ended; what wrote is gone a moment before.
  void Promise.all([stdio.said, groups]).then(noteKills);
  const code = await Promise.race([ended, begun.then(() => ended)]);
  stdio.close();
  await begun;
  await Promise.race([stdio.said, sleep(LAST_OUTPUT_MS, undefined, { ref: false })]);
  // Told apart from the code: where only a child of the command was ended for its memory, that may be anything.
  const { OOMKilled: ranOut } = await stateOf(container);
  if (ranOut === true) noteOutOfMemory();
  await remove(container).catch(() => undefined); // whoever ends the run directory does it then
  return code;
}

/** Goes on once the command line that wants it is there, and ends with it: the container too. */
async function attend(container: ContainerRef): Promise<void> {
  const end = (): void => void remove(container).then(() => process.exit(), beLost);
  await meetCommandLine(end).catch((error: Error) => {
    throw new NotStartedError(`It was not begun: ${error.message}`);
  });
  passInterrupts(container);
}

/** Ends the shim with everything of it, so that no exit status is written: how the container ended is not known. */
function beLost(error: unknown): never {
  process.stderr.write(`runyard: ${(error as Error).message}\n`);
  const shim = readShimPid(".");
  if (shim !== null && shim.pid === process.ppid) process.kill(-shim.pid, "SIGKILL");
  process.kill(process.pid, "SIGKILL");
  throw error;
}

const job = JSON.parse(readFileSync(9, "utf8").replace(/\0$/, "")) as ContainerJob;
try {
  // Short of memory, the kernel takes what is in the container.
  writeFileSync("/proc/self/oom_score_adj", "0");
} catch {
  // not here
}
const code = await run(job).catch((error: unknown) => {
  if (!(error instanceof NotStartedError)) beLost(error);
  process.stderr.write(`runyard: ${error.message}\n`);
  return NOT_STARTED;
});
writeFileSync(CONTAINER_ENDED, "");
process.exit(code);

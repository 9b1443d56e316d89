/** Groups of commands that may still have living processes. */
const living = new Set<number>();

export function trackGroup(pid: number): void {
  living.add(pid);
}

export function forgetGroup(pid: number): void {
  living.delete(pid);
}

/** Kills a command with everything that it started and that stayed in its process group. */
export function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // It has ended by itself.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** For the end of the agent: nothing that it started is left behind. */
export function killAllGroups(): void {
  for (const pid of living) killGroup(pid);
}

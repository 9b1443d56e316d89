import { EXIT } from "./exit-codes.ts";

/** Does something that watches and changes nothing; Ctrl-C ends it cleanly, with the exit code that says so. */
export async function leaveOnInterrupt(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const leave = new AbortController();
  const onInterrupt = (): void => {
    process.exitCode = EXIT.interrupted;
    leave.abort();
  };
  process.once("SIGINT", onInterrupt);
  try {
    await work(leave.signal);
  } catch (error) {
    if (!leave.signal.aborted) throw error;
  } finally {
    process.off("SIGINT", onInterrupt);
  }
}

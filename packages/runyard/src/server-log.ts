import pino from "pino";

/** Appends JSON lines to a file, each whole: the server's own log, for people who look for a fault. */
export function logTo(
  file: string,
): (level: "info" | "warn" | "error", message: string, detail?: Readonly<Record<string, unknown>>) => void {
  const logger = pino(
    { base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: file, mode: 0o600, sync: true }),
  );
  return (level, message, detail) => logger[level](detail ?? {}, message);
}

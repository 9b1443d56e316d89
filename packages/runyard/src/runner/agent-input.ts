import { InWriter } from "../sandbox/journal.ts";
import { readInputs } from "../store/runs.ts";
import type { RunnerContext } from "./context.ts";
import { diskFullCause } from "./disk-full.ts";
import { type RunHandle, RunFailure } from "./run-handle.ts";

/**
 * The server's end of an agent's `in`. Bytes are decided in the store, with their place, before they
 * exist in the file; writing them again at the same place is invisible, so a new server begins at 0.
 */
export interface AgentInput {
  /** Writes what the store has and the file may not have, and rings. False: nobody reads. */
  flush(): Promise<boolean>;
  /** Closes the agent's stdin behind what was written. */
  closeStdin(): void;
  close(): void;
}

export function openAgentInput(ctx: Pick<RunnerContext, "db">, handle: RunHandle, dir: string): AgentInput {
  let writer: InWriter | null = null;
  let written = 0;
  return {
    async flush() {
      const lines = await readInputs(ctx.db, { run: handle.row, from: written });
      if (lines.length === 0) return true;
      // No reader: the agent has ended, or its shim is dead; the loop finds out which.
      writer ??= InWriter.open(dir);
      if (writer === null) return false;
      for (const { off, line } of lines) {
        writeOrFail(writer, line, off);
        written = off + Buffer.byteLength(line);
      }
      writer.ring();
      return true;
    },
    closeStdin() {
      writer ??= InWriter.open(dir);
      writer?.closeStdin();
    },
    close() {
      writer?.close();
    },
  };
}

function writeOrFail(writer: InWriter, line: string, off: number): void {
  try {
    writer.write(line, off);
  } catch (error) {
    const full = diskFullCause(error);
    throw full === null ? error : new RunFailure(full);
  }
}

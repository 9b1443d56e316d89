import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { CliError, EXIT } from "./exit-codes.ts";
import { explainSystemError } from "./system-error.ts";

/** A text that somebody gives: of a file, or, for "-", of stdin. */
export async function readText(file: string): Promise<string> {
  if (file === "-") {
    if (!process.stdin.isTTY) return text(process.stdin);
    throw new CliError("Nothing is on stdin.", { advice: "Pipe the text in, or name its file.", exitCode: EXIT.usage });
  }
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const known = explainSystemError(error, file);
    throw new CliError(known?.message ?? `${file} cannot be read: ${(error as Error).message}`, { exitCode: EXIT.usage });
  }
}

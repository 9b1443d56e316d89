import { InvalidArgumentError } from "commander";
import { splitWords } from "./words.ts";

/** For options whose value is a command line. */
export function parseCommand(line: string): string[] {
  try {
    const words = splitWords(line);
    if (words.length > 0) return words;
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
  throw new InvalidArgumentError("It names no program.");
}

import { InvalidArgumentError } from "commander";

/** Parses words with commas between them, each of which must be known. */
export function parseListOf<T extends string>(known: readonly T[], noun: string): (value: string) => T[] {
  return (value) => {
    const words = value.split(",").map((word) => word.trim());
    for (const word of words)
      if (!(known as readonly string[]).includes(word))
        throw new InvalidArgumentError(`"${word}" is no ${noun}. Known: ${known.join(", ")}.`);
    return words as T[];
  };
}

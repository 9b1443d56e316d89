import { readFileSync } from "node:fs";
import { InvalidArgumentError } from "commander";

/** For options whose value is JSON: written out, or as `@` and the name of a file that holds it. */
export function parseJsonOption(value: string): unknown {
  const isFile = value.startsWith("@");
  const text = isFile ? readIt(value.slice(1)) : value;
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const advice = isFile ? "" : " Put it in single quotes, or into a file: @file.json.";
    throw new InvalidArgumentError(`${isFile ? value.slice(1) : "It"} is no JSON: ${(error as Error).message}.${advice}`);
  }
}

function readIt(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new InvalidArgumentError(`${file} cannot be read: ${(error as Error).message}.`);
  }
}

import { matchesGlob } from "./glob.ts";

/** Characters by which a shell runs more than one program, runs one to make words of, or opens files. */
const SHELL_CHARACTERS: ReadonlySet<string> = new Set([";", "&", "|", "<", ">", "(", ")", "$", "`", "\n", "\r"]);
const PARTS = /[;&|<>()$`\n\r{}]+/;

/**
 * True when consent to the pattern is consent to this line. No wildcard stands for a character by which a shell
 * could run something else: what the pattern does not write out, it does not allow.
 */
export function allowsCommand(pattern: string, line: string): boolean {
  return matchesGlob(pattern, line.trim(), { isPath: false, literalOnly: SHELL_CHARACTERS });
}

/** True when the line, or a part of it that a shell would run by itself, fits the pattern. */
export function concernsCommand(pattern: string, line: string): boolean {
  const parts = new Set([line, ...line.split(PARTS)].map((part) => part.trim()));
  return [...parts].some((part) => matchesGlob(pattern, part, { isPath: false }));
}

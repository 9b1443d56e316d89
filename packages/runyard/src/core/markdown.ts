import { neutralLine } from "./neutral-text.ts";

/** The beginning of a text that is longer than that, without half a character, and a line that says so. */
export function cutText(text: string, longest: number): string {
  return text.length <= longest ? text : `${text.slice(0, longest).replace(/[\ud800-\udbff]$/, "")}\n\n… (cut)`;
}

export function quoteText(text: string): string {
  return text.replaceAll(/^/gm, "> ");
}

/** A name or a command as code on one line: nothing of it is Markdown, whatever it holds. */
export function codeText(text: string): string {
  const line = neutralLine(text, { allowReferences: true, longest: 200 });
  const fence = "`".repeat(1 + longestTicks(line));
  return `${fence} ${line} ${fence}`;
}

/** A block that nothing in it can end: its fence is longer than any row of backticks inside. */
export function codeBlock(text: string): string {
  const fence = "`".repeat(1 + Math.max(2, longestTicks(text)));
  return `${fence}text\n${text}\n${fence}`;
}

function longestTicks(text: string): number {
  return Math.max(0, ...Array.from(text.matchAll(/`+/g), ([ticks]) => ticks.length));
}

/** As `1 file`, `2 files`. */
export function plural(many: number, what: string): string {
  return `${many} ${what}${many === 1 ? "" : "s"}`;
}

/**
 * The words of a command line as a POSIX shell splits them: blanks separate, quotes and backslashes keep
 * together. Nothing is expanded. Throws for a quote that is not closed.
 */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  const pattern = /\s*((?:[^\s"'\\]|\\[\s\S]|"(?:[^"\\]|\\[\s\S])*"|'[^']*')+)/gy;
  let end = 0;
  for (const match of line.matchAll(pattern)) {
    words.push(unquote(match[1] ?? ""));
    end = match.index + match[0].length;
  }
  if (line.slice(end).trim() !== "") throw new Error(`A quote is not closed in: ${line}`);
  return words;
}

function unquote(word: string): string {
  return word.replaceAll(/"((?:[^"\\]|\\[\s\S])*)"|'([^']*)'|\\([\s\S])/g, (_, double?: string, single?: string, escaped?: string) => {
    if (double !== undefined) return double.replaceAll(/\\([\\"$`\n])/g, (_all, char: string) => (char === "\n" ? "" : char));
    return single ?? (escaped === "\n" ? "" : (escaped ?? ""));
  });
}

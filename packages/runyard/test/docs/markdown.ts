/** A fenced block of a page. */
export interface Fence {
  readonly language: string;
  readonly code: string;
  /** The line of its first fence, from 1. */
  readonly line: number;
  /** The words of the HTML comment on the line before it; null where there is none. */
  readonly remark: string | null;
}

interface Page {
  readonly fences: readonly Fence[];
  /** What is not in a fence, by line; null for the lines of fences. */
  readonly prose: readonly (string | null)[];
}

export function readPage(text: string): Page {
  const fences: Fence[] = [];
  const prose: (string | null)[] = [];
  let open: { readonly language: string; readonly line: number; readonly remark: string | null; readonly code: string[] } | null = null;
  for (const [index, line] of text.split("\n").entries()) {
    const mark = /^```(\S*)\s*$/.exec(line);
    if (open !== null && mark === null) open.code.push(line);
    else if (open !== null) {
      fences.push({ ...open, code: `${open.code.join("\n")}\n` });
      open = null;
    } else if (mark !== null) {
      const remark = /^<!-- (.+) -->$/.exec(prose.at(-1) ?? "")?.[1] ?? null;
      open = { language: mark[1] ?? "", line: index + 1, remark, code: [] };
    } else {
      prose.push(line);
      continue;
    }
    prose.push(null);
  }
  if (open !== null) throw new Error(`The fence of line ${open.line} is not closed`);
  return { fences, prose };
}

/** Targets of links and pictures, without those in code. */
export function linksOf({ prose }: Page): string[] {
  return prose.flatMap((line) => {
    const plain = (line ?? "").replaceAll(/`[^`]*`/g, "code");
    return Array.from(plain.matchAll(/\]\(([^()\s]+)\)/g), (match) => match[1] ?? "");
  });
}

/** The names by which headings can be linked to, as GitHub makes them. */
export function anchorsOf({ prose }: Page): Set<string> {
  const headings = prose.flatMap((line) => /^#{1,6} (.+)$/.exec(line ?? "")?.[1] ?? []);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
        .trim()
        .replaceAll(" ", "-"),
    ),
  );
}

/** Rows of the tables of a page, each as its cells. */
export function tableRows({ prose }: Page): string[][] {
  return prose
    .filter((line) => line !== null)
    .filter((line) => line.startsWith("|") && !/^[|\s:-]+$/.test(line))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

/** Texts in code quotes; none goes over the end of a line. */
export function codeWords(text: string): string[] {
  return Array.from(text.matchAll(/`([^`\n]+)`/g), (match) => match[1] ?? "");
}

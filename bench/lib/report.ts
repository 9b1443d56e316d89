/** One line of the table: a measured item beside its floor, and what is asked of it. */
export interface Row {
  readonly bench: string;
  readonly item: string;
  readonly candidate: string;
  readonly floor: string;
  /** Candidate through floor, in the unit of both; null where nothing is compared. */
  readonly ratio: number | null;
  /** What is asked, in words; null: a figure that only explains others. */
  readonly target: { readonly text: string; readonly met: boolean } | null;
}

const HEAD = ["Bench", "Item", "Runyard", "Floor", "Ratio", "Target", "Met"];

export function ms(value: number): string {
  return `${digits(value)} ms`;
}

export function micros(value: number): string {
  return `${digits(value)} µs`;
}

export function perSecond(value: number, what: string): string {
  const text = value >= 1_000_000 ? `${digits(value / 1_000_000)}M` : value >= 10_000 ? `${digits(value / 1000)}k` : digits(value);
  return `${text} ${what}/s`;
}

export function megabytes(bytes: number): string {
  return `${digits(bytes / 1e6)} MB`;
}

/** Three digits that mean something. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

export function ratioAtMost(limit: number, ratio: number, note = ""): Row["target"] {
  return { text: `≤ ${limit} ×${note}`, met: ratio <= limit };
}

export function ratioAtLeast(limit: number, ratio: number, note = ""): Row["target"] {
  return { text: `≥ ${limit} ×${note}`, met: ratio >= limit };
}

function cellsOf(row: Row): string[] {
  const met = row.target === null ? "" : row.target.met ? "yes" : "**no**";
  return [row.bench, row.item, row.candidate, row.floor, row.ratio === null ? "" : digits(row.ratio), row.target?.text ?? "", met];
}

/** The rows as a Markdown table. */
export function markdownTable(rows: readonly Row[]): string {
  const lines = [HEAD, HEAD.map(() => "---"), ...rows.map(cellsOf)];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** The rows in columns, for a terminal. */
export function plainTable(rows: readonly Row[]): string {
  const lines = [HEAD, ...rows.map(cellsOf)].map((cells) => cells.map((cell) => cell.replaceAll("**", "")));
  const widths = HEAD.map((_, column) => Math.max(...lines.map((cells) => (cells[column] ?? "").length)));
  return lines
    .map((cells) =>
      cells
        .map((cell, column) => pad(cell, widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function pad(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - text.length));
}

import type { Cell, Style } from "./screen.ts";

const CELL = { width: 8.4, height: 18, font: 14 } as const;
const MARGIN = 16;
const FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace";
const COLOURS = { background: "#0d1117", text: "#e6edf3", dim: "#8b949e" } as const;
/** Black, red, green, yellow, blue, magenta, cyan, white. */
const BASIC = ["#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4"];

/**
 * A picture of a screen. Every run of characters says how wide it is, so that columns stand where the terminal
 * had them, whatever font a viewer has.
 */
export function renderSvg(rows: readonly (readonly Cell[])[], options: { readonly columns: number; readonly title: string }): string {
  const width = 2 * MARGIN + options.columns * CELL.width;
  const height = 2 * MARGIN + rows.length * CELL.height;
  const lines = rows.flatMap((cells, row) => runsOf(cells).map((run) => renderRun(run, row)));
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${round(width)}" height="${round(height)}" viewBox="0 0 ${round(width)} ${round(height)}" role="img">`,
    `<title>${escapeXml(options.title)}</title>`,
    `<rect width="100%" height="100%" rx="8" fill="${COLOURS.background}"/>`,
    `<g font-family="${FONTS}" font-size="${CELL.font}" fill="${COLOURS.text}">`,
    ...lines,
    "</g>",
    "</svg>",
  ].join("\n")}\n`;
}

interface Run {
  readonly column: number;
  readonly text: string;
  readonly style: Style;
}

/** Neighbours that look alike, cut where several blanks stand together: viewers make one of those. */
function runsOf(cells: readonly Cell[]): Run[] {
  const runs: Run[] = [];
  for (const [column, { char, style }] of cells.entries()) {
    const last = runs.at(-1);
    if (last !== undefined && isSame(last.style, style)) runs[runs.length - 1] = { ...last, text: last.text + char };
    else runs.push({ column, text: char, style });
  }
  return runs.flatMap(({ column, text, style }) =>
    Array.from(text.matchAll(/\S+(?: \S+)*/gu), (piece) => ({
      column: column + Array.from(text.slice(0, piece.index)).length,
      text: piece[0],
      style,
    })),
  );
}

function isSame(a: Style, b: Style): boolean {
  return a.bold === b.bold && a.dim === b.dim && a.colour === b.colour;
}

function renderRun({ column, text, style }: Run, row: number): string {
  const colour = style.colour === null ? (style.dim ? COLOURS.dim : null) : (BASIC[style.colour] ?? null);
  const attributes = [
    `x="${round(MARGIN + column * CELL.width)}"`,
    `y="${round(MARGIN + (row + 0.75) * CELL.height)}"`,
    `textLength="${round(Array.from(text).length * CELL.width)}"`,
    ...(colour === null ? [] : [`fill="${colour}"`]),
    ...(style.bold ? ['font-weight="bold"'] : []),
  ];
  return `<text ${attributes.join(" ")}>${escapeXml(text)}</text>`;
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** How a character looks. */
export interface Style {
  readonly bold: boolean;
  readonly dim: boolean;
  /** Number of one of the eight basic colours; null: the terminal's own. */
  readonly colour: number | null;
}

export interface Cell {
  readonly char: string;
  readonly style: Style;
}

const PLAIN: Style = { bold: false, dim: false, colour: null };
const BLANK: Cell = { char: " ", style: PLAIN };

/**
 * What a terminal of so many columns shows after some output, and what has scrolled away above it, row by
 * row. Knows what Runyard writes, and throws for anything else: a picture must not leave out what it
 * does not understand.
 */
export function screenAfter(output: string, columns: number): Cell[][] {
  const rows: Cell[][] = [];
  let [row, column, style] = [0, 0, PLAIN];
  const put = (char: string): void => {
    if (column >= columns) [row, column] = [row + 1, 0];
    const cells = (rows[row] ??= []);
    while (cells.length < column) cells.push(BLANK);
    cells[column] = { char, style };
    column += 1;
  };
  // oxlint-disable-next-line no-control-regex -- control characters are what a terminal obeys
  for (const [piece, numbers, letter] of output.matchAll(/\u001b\[([\d;]*)([A-Za-z])|[\s\S]/gu)) {
    if (piece === "\r") column = 0;
    else if (piece === "\n") row += 1;
    else if (letter === "m") style = styleAfter(style, numbers ?? "");
    else if (letter === "A") row = Math.max(0, row - Number(numbers || 1));
    else if (letter === "G") column = Number(numbers || 1) - 1;
    else if (letter === "J" && (numbers === "" || numbers === "0")) {
      rows.length = Math.min(rows.length, row + 1);
      rows[row]?.splice(column);
    } else if (letter === undefined && /^[^\p{Cc}]$/u.test(piece)) put(piece);
    else throw new Error(`This terminal does not know ${JSON.stringify(piece)}`);
  }
  return Array.from(rows, (cells) => cells ?? []);
}

function styleAfter(style: Style, numbers: string): Style {
  let next = style;
  for (const code of numbers.split(";").map(Number)) {
    if (code === 0) next = PLAIN;
    else if (code === 1) next = { ...next, bold: true };
    else if (code === 2) next = { ...next, dim: true };
    else if (code === 22) next = { ...next, bold: false, dim: false };
    else if (code >= 30 && code <= 37) next = { ...next, colour: code - 30 };
    else if (code === 39) next = { ...next, colour: null };
    else throw new Error(`This terminal does not know the style ${code}`);
  }
  return next;
}

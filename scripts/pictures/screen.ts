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
  const screen: Screen = { rows: [], row: 0, column: 0, style: PLAIN };
  // oxlint-disable-next-line no-control-regex -- control characters are what a terminal obeys
  for (const [piece, numbers = "", letter] of output.matchAll(/\u001b\[([\d;]*)([A-Za-z])|[\s\S]/gu)) {
    if (letter !== undefined) obey(screen, letter, numbers);
    else if (piece === "\r") screen.column = 0;
    else if (piece === "\n") screen.row += 1;
    else if (/^[^\p{Cc}]$/u.test(piece)) put(screen, piece, columns);
    else throw unknown(piece);
  }
  return Array.from(screen.rows, (cells) => cells ?? []);
}

interface Screen {
  readonly rows: Cell[][];
  row: number;
  column: number;
  style: Style;
}

function put(screen: Screen, char: string, columns: number): void {
  if (screen.column >= columns) [screen.row, screen.column] = [screen.row + 1, 0];
  const cells = (screen.rows[screen.row] ??= []);
  while (cells.length < screen.column) cells.push(BLANK);
  cells[screen.column] = { char, style: screen.style };
  screen.column += 1;
}

function obey(screen: Screen, letter: string, numbers: string): void {
  const { rows } = screen;
  if (letter === "m") screen.style = styleAfter(screen.style, numbers);
  else if (letter === "A") screen.row = Math.max(0, screen.row - Number(numbers || 1));
  else if (letter === "G") screen.column = Number(numbers || 1) - 1;
  else if (letter === "J" && Number(numbers) === 0) {
    rows.length = Math.min(rows.length, screen.row + 1);
    rows[screen.row]?.splice(screen.column);
  } else throw unknown(`ESC [ ${numbers} ${letter}`);
}

function unknown(piece: string): Error {
  return new Error(`This terminal does not know ${JSON.stringify(piece)}`);
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

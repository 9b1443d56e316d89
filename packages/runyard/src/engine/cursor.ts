import { RunyardError } from "@runyard/sdk/contract";

interface Reading<Row, Item> {
  /** The rows before a number, from the highest down; null: from the top. */
  readonly read: (page: { readonly before: number | null; readonly limit: number }) => Promise<readonly Row[]>;
  readonly show: (row: Row) => Item;
  readonly num: (row: Row) => number;
}

/** A page of a list. Throws `invalid_request` for a cursor that is none. */
export async function readPage<Row, Item>(
  { cursor, limit }: { readonly cursor?: string | undefined; readonly limit: number },
  { read, show, num }: Reading<Row, Item>,
): Promise<{ data: Item[]; has_more: boolean; next_cursor: string | null }> {
  const before = cursor === undefined ? null : decodeCursor(cursor);
  // One more than the page has tells whether there are more.
  const rows = await read({ before, limit: limit + 1 });
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  const hasMore = rows.length > page.length;
  return { data: page.map(show), has_more: hasMore, next_cursor: hasMore && last ? encodeCursor(num(last)) : null };
}

/** Where a page of a list ended, in a form that nobody is to look into. */
function encodeCursor(num: number): string {
  return Buffer.from(String(num)).toString("base64url");
}

function decodeCursor(cursor: string): number {
  const num = Number(Buffer.from(cursor, "base64url").toString("latin1"));
  if (!Number.isSafeInteger(num) || num < 1) throw new RunyardError("invalid_request", "The cursor is not one that this server gave.");
  return num;
}

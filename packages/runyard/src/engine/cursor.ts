import { RunyardError } from "@runyard/sdk/contract";

/** Where a page of a list ended, in a form that nobody is to look into. */
export function encodeCursor(num: number): string {
  return Buffer.from(String(num)).toString("base64url");
}

export function decodeCursor(cursor: string): number {
  const num = Number(Buffer.from(cursor, "base64url").toString("latin1"));
  if (!Number.isSafeInteger(num) || num < 1) throw new RunyardError("invalid_request", "The cursor is not one that this server gave.");
  return num;
}

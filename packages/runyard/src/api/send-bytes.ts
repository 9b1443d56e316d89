import { Readable } from "node:stream";
import type { ApiContext } from "./context.ts";

/** Bytes that are read once. */
interface SentBytes {
  /** Null: nobody knows it before the end. */
  readonly size: number | null;
  readonly bytes: AsyncGenerator<Uint8Array, void>;
}

/** What breaks off shows as broken: its length is said before, or its last chunk never comes. */
export async function sendBytes(
  c: ApiContext,
  { size, bytes }: SentBytes,
  { type, name }: { readonly type: string; readonly name: string },
): Promise<Response> {
  const headers = {
    "Content-Type": type,
    "Content-Disposition": attachment(name),
    ...(size !== null && { "Content-Length": String(size) }),
  };
  if (c.req.method === "HEAD") {
    await bytes.next();
    await bytes.return();
    return c.body(null, 200, headers);
  }
  // As a web stream it takes its first piece at once, and is given back what it holds where its reader goes away.
  return c.body(Readable.toWeb(Readable.from(bytes, { objectMode: false })) as ReadableStream<Uint8Array>, 200, headers);
}

/** A name goes into a header as RFC 6266 writes it: plain for old readers, and exact. */
export function attachment(name: string): string {
  const plain = name.replaceAll(/[^\w .()+,@=-]/g, "_");
  const exact = encodeURIComponent(name).replaceAll(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  return `attachment; filename="${plain}"${plain === name ? "" : `; filename*=UTF-8''${exact}`}`;
}

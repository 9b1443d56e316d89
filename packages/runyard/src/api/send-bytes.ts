import type { ApiContext } from "./context.ts";
import type { SentBytes } from "./engine.ts";

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
    await giveBack(bytes, false);
    return c.body(null, 200, headers);
  }
  return c.body(streamOf(bytes), 200, headers);
}

/** Whoever reads may be gone before the first piece, which was long in the making. */
function streamOf(bytes: AsyncGenerator<Uint8Array, void>): ReadableStream<Uint8Array<ArrayBuffer>> {
  let hasBegun = false;
  return new ReadableStream({
    async pull(controller) {
      hasBegun = true;
      const { value, done } = await bytes.next();
      if (done === true) controller.close();
      else controller.enqueue(value as Uint8Array<ArrayBuffer>);
    },
    cancel: () => giveBack(bytes, hasBegun),
  });
}

/** Has it close what it holds: a generator that has not begun knows nothing of that yet. */
async function giveBack(bytes: AsyncGenerator<Uint8Array, void>, hasBegun: boolean): Promise<void> {
  if (!hasBegun) await bytes.next();
  await bytes.return();
}

/** A name goes into a header as RFC 6266 writes it: plain for old readers, and exact. */
export function attachment(name: string): string {
  const plain = name.replaceAll(/[^\w .()+,@=-]/g, "_");
  const exact = encodeURIComponent(name).replaceAll(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  return `attachment; filename="${plain}"${plain === name ? "" : `; filename*=UTF-8''${exact}`}`;
}

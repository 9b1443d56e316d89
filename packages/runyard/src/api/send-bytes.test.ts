import { Hono } from "hono";
import { expect, test } from "vitest";
import type { ApiContext } from "./context.ts";
import { sendBytes } from "./send-bytes.ts";

/** Something that holds a file until it was read, or is given back. */
function held() {
  const seen = { closed: 0, read: 0 };
  const bytes = (async function* () {
    try {
      for (const piece of ["one", "two", "three"]) {
        seen.read += 1;
        yield Buffer.from(piece);
      }
    } finally {
      seen.closed += 1;
    }
  })();
  const app = new Hono().get("/", (c) => sendBytes(c as unknown as ApiContext, { size: 11, bytes }, { type: "text/plain", name: "x" }));
  return { seen, ask: (method: string) => app.request("/", { method }) };
}

test("what is held is given back: read whole, left in the middle, or before anything was read", async () => {
  const whole = held();
  expect(await (await whole.ask("GET")).text()).toBe("onetwothree");
  expect(whole.seen).toEqual({ closed: 1, read: 3 });

  const half = held();
  const reader = (await half.ask("GET")).body?.getReader();
  await reader?.read();
  await reader?.cancel();
  expect(half.seen.closed).toBe(1);

  const gone = held();
  await (await gone.ask("GET")).body?.cancel();
  expect(gone.seen.closed).toBe(1);

  const head = held();
  await head.ask("HEAD");
  expect(head.seen.closed).toBe(1);
});

test("what fails on the way breaks off", async () => {
  const bytes = (async function* () {
    yield Buffer.from("one");
    throw new Error("the disk is gone");
  })();
  const app = new Hono().get("/", (c) => sendBytes(c as unknown as ApiContext, { size: null, bytes }, { type: "text/plain", name: "x" }));
  await expect((await app.request("/")).text()).rejects.toThrow("the disk is gone");
});

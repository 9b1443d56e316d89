import { describe, expect, test } from "vitest";
import { createPages, PAGE_BYTES } from "./pages.ts";
import { createLogEngine } from "./testing/log-engine.ts";
import { OWNER } from "./testing/door.ts";

const at = (after: number) => ({ principal: OWNER, after, form: "ndjson" as const });

describe("pages of a log", () => {
  test("hold no more than their size, but for a single longer event, and together the whole log", async () => {
    const engine = createLogEngine();
    const { id } = engine.addRun(OWNER.orgId);
    // Small ones first: a page that goes by the size of those before would be far too long.
    for (let n = 0; n < 600; n += 1) engine.append(id, "log", { text: "x" });
    for (let n = 0; n < 300; n += 1) engine.append(id, "log", { text: "y".repeat(n === 150 ? 300_000 : 20_000) });
    const pages = createPages(engine, id);
    let whole = "";
    const tooLong: number[] = [];
    for (let after = 0, more = true; more;) {
      const page = await pages.read(at(after), 0);
      if (page.bytes.byteLength > PAGE_BYTES && page.last > after + 1) tooLong.push(page.last);
      whole += Buffer.from(page.bytes).toString();
      ({ last: after, more } = page);
    }
    expect(tooLong).toEqual([]);
    const { events } = await engine.readEvents(OWNER, id, { after: 0, limit: 1_000 });
    expect(whole).toBe(events.map(({ json }) => `${json}\n`).join(""));
  });

  test("at one place are read once, also by those who come when the log has grown; they then look again", async () => {
    const engine = createLogEngine();
    const { id } = engine.addRun(OWNER.orgId);
    engine.append(id, "log", { text: "one" });
    const pages = createPages(engine, id);
    const [first, second] = await Promise.all([pages.read(at(0), 0), pages.read(at(0), 0)]);
    expect(second).toBe(first);
    expect([first.last, first.more, engine.reads.count]).toEqual([1, false, 1]);
    engine.append(id, "log", { text: "two" });
    const late = await pages.read(at(0), 1);
    expect([late.bytes, late.last, late.more, engine.reads.count]).toEqual([first.bytes, 1, true, 1]);
    expect((await pages.read(at(1), 1)).last).toBe(2);
  });

  test("that are empty count for one version of the log only", async () => {
    const engine = createLogEngine();
    const { id } = engine.addRun(OWNER.orgId);
    const pages = createPages(engine, id);
    expect(await pages.read(at(0), 0)).toMatchObject({ isEmpty: true, last: 0, more: false });
    engine.append(id, "log", { text: "one" });
    expect((await pages.read(at(0), 0)).isEmpty).toBe(true);
    expect((await pages.read(at(0), 1)).last).toBe(1);
  });

  test("whose read failed are read again", async () => {
    const engine = createLogEngine();
    const { id } = engine.addRun(OWNER.orgId);
    engine.append(id, "log", { text: "one" });
    const { readEvents } = engine;
    engine.readEvents = () => Promise.reject(new Error("for once"));
    const pages = createPages(engine, id);
    await expect(pages.read(at(0), 0)).rejects.toThrow("for once");
    engine.readEvents = readEvents;
    expect((await pages.read(at(0), 0)).last).toBe(1);
  });
});

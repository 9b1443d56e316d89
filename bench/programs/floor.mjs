// The least servers that do a part of Runyard's work, for comparison. Use: node floor.mjs <kind> <port> [file]
//   bare    node:http, and PostgreSQL asked in /readyz        hono   the same by way of hono
//   feed    node:http; every request is sent the file in pieces of 64 KiB, when the reader takes them
//   create  node:http; a run and its first two events, stored for all requests of a turn by one statement
// Prints its pid and address in one line when it serves.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const [kind = "", port = "0", file = ""] = process.argv.slice(2);
const PIECE_BYTES = 64 * 1024;

/** @typedef {import("node:http").RequestListener} Listener */

async function database() {
  const { default: pg } = await import("pg");
  return new pg.Pool({ connectionString: process.env["DATABASE_URL"] ?? "", max: 10 });
}

/** Each loads only what it needs. @type {Readonly<Record<string, () => Listener | Promise<Listener>>>} */
const KINDS = {
  async bare() {
    const db = await database();
    return (_, response) => {
      void db.query("select 1").then(() => response.setHeader("content-type", "application/json").end('{"status":"ok"}'));
    };
  },
  async hono() {
    const [{ Hono }, { getRequestListener }, db] = await Promise.all([import("hono"), import("@hono/node-server"), database()]);
    const app = new Hono();
    app.get("/readyz", async (c) => {
      await db.query("select 1");
      return c.json({ status: "ok" });
    });
    const listen = getRequestListener(app.fetch);
    return (request, response) => void listen(request, response);
  },
  feed() {
    const bytes = readFileSync(file);
    return (_, response) => {
      response.setHeader("content-type", "text/event-stream");
      let at = 0;
      const sendOn = () => {
        while (at < bytes.length) {
          const piece = bytes.subarray(at, (at += PIECE_BYTES));
          if (!response.write(piece)) return void response.once("drain", sendOn);
        }
        response.end();
      };
      sendOn();
    };
  },
  create: async () => groupedCreates(await database()),
};

/**
 * Requests of one turn of the event loop are one statement; two statements may be under way.
 * @param {import("pg").Pool} db
 * @returns {Listener}
 */
function groupedCreates(db) {
  const insert = `with r as (insert into bench.runs select * from unnest($1::text[], $2::text[]) returning id, task)
    insert into bench.events select r.id, e.seq, e.type, json_build_object('task', r.task)
      from r, (values (1, 'run.created'), (2, 'message.user')) e(seq, type)`;
  /** @type {{ id: string, task: string, done: (answer: string) => void }[]} */
  let waiting = [];
  let underWay = 0;
  let made = 0;
  const flush = async () => {
    if (waiting.length === 0 || underWay === 2) return;
    const group = waiting;
    waiting = [];
    underWay += 1;
    await db.query({ name: "create", text: insert, values: [group.map((one) => one.id), group.map((one) => one.task)] });
    underWay -= 1;
    for (const { id, task, done } of group) done(JSON.stringify({ id, task, status: "pending" }));
    void flush();
  };
  return (request, response) => {
    let body = "";
    request.on("data", (data) => (body += data));
    request.on("end", () => {
      const { task } = JSON.parse(body);
      made += 1;
      const done = (/** @type {string} */ answer) =>
        void response.writeHead(201, { "content-length": Buffer.byteLength(answer) }).end(answer);
      waiting.push({ id: `run_${process.pid}_${made}`, task, done });
      if (waiting.length === 1) setImmediate(() => void flush());
    });
  };
}

const listener = await KINDS[kind]?.();
if (listener === undefined) throw new Error(`There is no floor "${kind}"`);
const server = createServer(listener).listen(Number(port), "127.0.0.1", () => {
  const address = server.address();
  const actual = typeof address === "object" ? address?.port : port;
  process.stdout.write(`${JSON.stringify({ pid: process.pid, url: `http://127.0.0.1:${actual}` })}\n`);
});

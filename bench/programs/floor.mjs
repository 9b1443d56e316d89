// The least servers that do a part of Runyard's work, for comparison. Use: node floor.mjs <kind> <port> [file]
//   bare    node:http, and PostgreSQL asked in /readyz        hono   the same by way of hono
//   feed    node:http; every request is sent the file in pieces of 64 KiB, when the reader takes them
//   create  node:http; a run and its first two events, stored for all requests of a turn by one statement
//   query   node:http and PostgreSQL; every request is the statement in the file, whose rows go out as they come
//   push    node:http; POST /<count>/<milliseconds> sends so many events to all readers, those of a turn joined
//   ingest  node:http; POST starts the agent that the file names, stores each of its lines and tells the reader
// Prints its pid and address in one line when it serves.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

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
  async query() {
    const db = await database();
    const text = readFileSync(file, "utf8");
    return (_, response) => {
      void db.query({ name: "page", text }).then(({ rows }) => {
        const body = `{"data":[${rows.map((row) => row.json).join(",")}]}`;
        response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) }).end(body);
      });
    };
  },
  push: () => pushed(),
  ingest: async () => ingested(await database()),
};

/**
 * Readers that get what is said while they are there; what is said in one turn of the event loop is one write.
 */
function audience() {
  /** @type {Set<import("node:http").ServerResponse>} */
  const readers = new Set();
  /** @type {string[]} */
  let waiting = [];
  return {
    /** @param {import("node:http").ServerResponse} response */
    join(response) {
      response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
      readers.add(response);
      response.once("close", () => readers.delete(response));
    },
    /** @param {string} event */
    say(event) {
      waiting.push(event);
      if (waiting.length > 1) return;
      setImmediate(() => {
        const joined = Buffer.from(waiting.join(""));
        waiting = [];
        for (const reader of readers) reader.write(joined);
      });
    },
    end() {
      setImmediate(() => {
        for (const reader of readers) reader.end();
      });
    },
  };
}

/** @returns {Listener} */
function pushed() {
  const all = audience();
  const text = "What an agent plans in a piece of its work, long enough for an event of some two hundred bytes.";
  return (request, response) => {
    if (request.method === "GET") return all.join(response);
    const [count = 0, everyMs = 0] = (request.url ?? "").slice(1).split("/").map(Number);
    response.end();
    let n = 0;
    const timer = setInterval(() => {
      n += 1;
      const event = {
        seq: n,
        id: `run_1:${n}`,
        at: new Date().toISOString(),
        type: "plan.updated",
        data: { entries: [{ content: `${n} ${text}` }] },
      };
      all.say(`id: ${n}\ndata: ${JSON.stringify(event)}\n\n`);
      if (n < count) return;
      clearInterval(timer);
      all.end();
    }, everyMs);
  };
}

/**
 * One statement at a time stores what has come meanwhile; the reader is told what is stored.
 * @param {import("pg").Pool} db
 * @returns {Listener}
 */
function ingested(db) {
  const all = audience();
  const insert = "insert into bench.lines select $1, $2 + o, l::json from unnest($3::text[]) with ordinality e(l, o)";
  let runs = 0;
  /** @param {string[]} argv @param {string} session */
  const run = async (argv, session) => {
    const name = `run_${(runs += 1)}`;
    const [program = "", ...words] = argv;
    const child = spawn(program, words, { stdio: ["pipe", "pipe", "inherit"] });
    child.stdin.end(session);
    /** @type {string[]} */
    let waiting = [];
    let stored = 0;
    /** @type {Promise<void> | null} */
    let storing = null;
    const store = async () => {
      while (waiting.length > 0) {
        const lines = waiting;
        waiting = [];
        await db.query({ name: "ingest", text: insert, values: [name, stored, lines] });
        for (const line of lines) all.say(`id: ${(stored += 1)}\ndata: ${line}\n\n`);
      }
      storing = null;
    };
    for await (const line of createInterface({ input: child.stdout })) {
      if (JSON.parse(line).method === undefined) continue;
      waiting.push(line);
      storing ??= store();
    }
    await storing;
    all.end();
  };
  return (request, response) => {
    if (request.method === "GET") return all.join(response);
    const { argv, session } = JSON.parse(readFileSync(file, "utf8"));
    response.end();
    void run(argv, session);
  };
}

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

import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, withDatabase, type TestDatabase } from "../testing/database.ts";
import { DatabaseUnavailableError, openDatabase, type Database } from "./database.ts";

let database: TestDatabase;
let db: Database;
let superuser: pg.Client;

beforeAll(async () => {
  database = await createTestDatabase();
  db = database.db;
  superuser = new pg.Client({ connectionString: database.connectionString });
  await superuser.connect();
  await superuser.query(`
    create table runyard.notes (id int primary key, org_id text not null, body text);
    call runyard.protect('runyard.notes');
    create table runyard.counters (id int primary key, org_id text not null, n int not null, unique (n) deferrable initially deferred);
    call runyard.protect('runyard.counters');
    insert into runyard.notes values (1, 'org_a', 'of a'), (2, 'org_b', 'of b');
    insert into runyard.counters values (1, 'org_a', 10), (2, 'org_a', 20);
    create function runyard.count_notes() returns int language sql security definer set search_path = runyard, pg_temp
      as 'select count(*)::int from notes';
    alter function runyard.count_notes owner to runyard_system;
  `);
});
afterAll(async () => {
  await superuser.end();
  await database.drop();
});

async function bodies(): Promise<unknown[]> {
  return (await superuser.query<{ body: string }>("select body from runyard.notes order by id")).rows.map((row) => row.body);
}

describe("row-level security", () => {
  test("work is done as a role that is not a superuser and does not bypass it", async () => {
    const rows = await db.query("select current_user as who, rolsuper, rolbypassrls from pg_roles where rolname = current_user");
    expect(rows).toEqual([{ who: "runyard_app", rolsuper: false, rolbypassrls: false }]);
  });

  test("an organization sees its rows only, in one statement and in a transaction", async () => {
    const text = "select id from notes order by id";
    expect((await superuser.query("select id from runyard.notes")).rowCount).toBe(2);
    expect(await db.queryInOrganization("org_a", text)).toEqual([{ id: 1 }]);
    expect(await db.queryInOrganization("org_b", text)).toEqual([{ id: 2 }]);
    expect(await db.inOrganization("org_b", (tx) => tx.query(text))).toEqual([{ id: 2 }]);
  });

  test("no organization, no rows: also on a connection that had one before", async () => {
    await Promise.all(Array.from({ length: 10 }, () => db.queryInOrganization("org_a", "select 1")));
    for (let turn = 0; turn < 10; turn += 1) expect(await db.query("select * from notes")).toEqual([]);
    await expect(db.queryInOrganization("", "select 1")).rejects.toThrow(/organization/);
    await expect(db.inOrganization("", () => Promise.resolve())).rejects.toThrow(/organization/);
  });

  test("a row of another organization is neither written, changed nor removed", async () => {
    const refused = { code: "42501" };
    await expect(db.queryInOrganization("org_a", "insert into notes values (3, 'org_b', 'forged')")).rejects.toMatchObject(refused);
    await expect(db.queryInOrganization("org_a", "update notes set org_id = 'org_b'")).rejects.toMatchObject(refused);
    await expect(db.query("insert into notes values (3, 'org_a', 'of nobody')")).rejects.toMatchObject(refused);
    expect(await db.queryInOrganization("org_a", "update notes set body = 'stolen' where id = 2 returning id")).toEqual([]);
    expect(await db.queryInOrganization("org_a", "delete from notes where id = 2 returning id")).toEqual([]);
    expect(await bodies()).toEqual(["of a", "of b"]);
    // The control: the same statement is right for the organization itself, and for whom no policy holds.
    await db.queryInOrganization("org_b", "insert into notes values (3, 'org_b', 'own')");
    await superuser.query("insert into runyard.notes values (4, 'org_b', 'by superuser')");
    expect(await bodies()).toEqual(["of a", "of b", "own", "by superuser"]);
    await superuser.query("delete from runyard.notes where id > 2");
  });

  test("a function of runyard_system crosses organizations, and nothing else does", async () => {
    expect(await db.query("select runyard.count_notes() as n")).toEqual([{ n: 2 }]);
    expect(await db.query("select count(*)::int as n from notes")).toEqual([{ n: 0 }]);
  });

  test("no table of the migrations is without it", async () => {
    const unprotected = `select relname from pg_class c where relnamespace = 'runyard'::regnamespace and relkind in ('r', 'p') and relname <> 'migrations'
      and not (relrowsecurity and relforcerowsecurity and (select count(*) from pg_policy where polrelid = c.oid) = 2)`;
    expect((await superuser.query(unprotected)).rows).toEqual([]);
    await superuser.query("create table runyard.forgotten (org_id text)");
    expect((await superuser.query(unprotected)).rows).toEqual([{ relname: "forgotten" }]);
    await superuser.query("drop table runyard.forgotten");
  });

  test("the policy can use an index", async () => {
    const plan = await db.inOrganization("org_a", async (tx) => {
      await tx.query("set local enable_seqscan = off");
      return tx.query<{ "QUERY PLAN": string }>("explain select * from runyard.runs order by num desc limit 1");
    });
    expect(plan.map((row) => row["QUERY PLAN"]).join("\n")).toMatch(/runs_by_org[\s\S]*Index Cond: \(org_id = /);
  });
});

describe("transactions", () => {
  test("all of the work is kept or none of it", async () => {
    const failing = db.inOrganization("org_a", async (tx) => {
      await tx.query("update notes set body = 'half' where id = 1");
      throw new Error("changed my mind");
    });
    await expect(failing).rejects.toThrow("changed my mind");
    expect((await bodies())[0]).toBe("of a");
    await db.inOrganization("org_a", async (tx) => {
      await tx.query("update notes set body = $1 where id = 1", ["whole"]);
      expect(await tx.query("select body from notes")).toEqual([{ body: "whole" }]);
    });
    expect((await bodies())[0]).toBe("whole");
    await superuser.query("update runyard.notes set body = 'of a' where id = 1");
  });

  test("a failed statement that the work overlooks does not pass for a commit", async () => {
    const careless = db.inOrganization("org_a", async (tx) => {
      await tx.query("update notes set body = 'lost' where id = 1");
      await tx.query("select 1 / 0").catch(() => undefined);
    });
    await expect(careless).rejects.toThrow(/rolled back because one of its statements had failed/);
    expect((await bodies())[0]).toBe("of a");
  });

  test("what only the commit finds is an error too", async () => {
    const duplicate = "update counters set n = 20 where id = 1";
    await expect(db.queryInOrganization("org_a", duplicate)).rejects.toMatchObject({ code: "23505" });
    await expect(db.inOrganization("org_a", (tx) => tx.query(duplicate))).rejects.toMatchObject({ code: "23505" });
    expect(await db.queryInOrganization("org_a", "select n from counters order by n")).toEqual([{ n: 10 }, { n: 20 }]);
  });

  test("the first failure is the one that is told", async () => {
    await expect(db.queryInOrganization("org_a", "select 1 / $1::int", [0])).rejects.toMatchObject({ code: "22012" });
    await expect(db.inOrganization("org_a", (tx) => tx.query("select 1 / $1::int", [0]))).rejects.toMatchObject({ code: "22012" });
    expect(await db.queryInOrganization("org_a", "select 1 / $1::int as one", [1])).toEqual([{ one: 1 }]);
  });

  test("a statement behind the end of its transaction is refused", async () => {
    let late: (() => Promise<unknown>) | undefined;
    await db.inOrganization("org_a", async (tx) => {
      late = () => tx.query("delete from notes");
      await tx.query("select 1");
    });
    await expect(late?.()).rejects.toThrow("This transaction has ended");
  });

  test("two transactions that lock crosswise both succeed, after a deadlock", async () => {
    let runs = 0;
    let holding = 0;
    let goOn: () => void = () => undefined;
    const bothHold = new Promise<void>((resolve) => (goOn = resolve));
    const cross = (first: number, second: number): Promise<void> =>
      db.inOrganization("org_a", async (tx) => {
        runs += 1;
        await tx.query("update counters set n = n + 100 where id = $1", [first]);
        if ((holding += 1) === 2) goOn();
        await bothHold;
        await tx.query("update counters set n = n + 100 where id = $1", [second]);
      });
    await Promise.all([cross(1, 2), cross(2, 1)]);
    expect(runs).toBeGreaterThan(2);
    expect(await db.queryInOrganization("org_a", "select n from counters order by id")).toEqual([{ n: 210 }, { n: 220 }]);
  });

  test("a table that changes under a prepared statement is no error", async () => {
    const text = "select * from notes where id = $1";
    const small = openDatabase({ connectionString: database.connectionString, applicationName: "small", maxConnections: 1 });
    expect(await small.queryInOrganization("org_a", text, [1])).toEqual([{ id: 1, org_id: "org_a", body: "of a" }]);
    await superuser.query("alter table runyard.notes add column extra int");
    expect(await small.queryInOrganization("org_a", text, [1])).toEqual([{ id: 1, org_id: "org_a", body: "of a", extra: null }]);
    await superuser.query("alter table runyard.notes drop column extra");
    await small.close();
  });

  test("many at once share few connections", async () => {
    const few = openDatabase({ connectionString: database.connectionString, applicationName: "few", maxConnections: 2 });
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, n) => few.queryInOrganization<{ n: number }>(n % 2 ? "org_a" : "org_b", "select $1::int as n", [n])),
    );
    expect(answers.map((rows) => rows[0]?.n)).toEqual(Array.from({ length: 60 }, (_, n) => n));
    const used = await superuser.query("select from pg_stat_activity where application_name = 'few'");
    expect(used.rowCount).toBeLessThanOrEqual(2);
    await few.close();
    await few.close();
    await expect(few.query("select 1")).rejects.toThrow("The database was closed");
  });
});

describe("values", () => {
  test("come as numbers, ISO times in UTC and parsed JSON", async () => {
    const rows = await db.query(`select 9007199254740991::int8 as big, '{1,null}'::int8[] as bigs,
      '2026-11-20 12:30:00.12+02'::timestamptz as at, '2026-11-20 10:30:00.123456Z'::timestamptz as exact,
      array['2026-01-01 00:00:00Z'::timestamptz, null] as times, '2026-11-20'::date as day,
      '{"a": [1]}'::jsonb as doc, '{"a": [1]}'::jsonb::text as text, '{"z":1,"a":2}'::json::text as json, 1.5::numeric as exact_number`);
    expect(rows).toEqual([
      {
        big: 9_007_199_254_740_991,
        bigs: [1, null],
        at: "2026-11-20T10:30:00.120Z",
        exact: "2026-11-20T10:30:00.123456Z",
        times: ["2026-01-01T00:00:00.000Z", null],
        day: "2026-11-20",
        doc: { a: [1] },
        text: '{"a": [1]}',
        json: '{"z":1,"a":2}',
        exact_number: "1.5",
      },
    ]);
    expect(await db.query("select $1::timestamptz as at", ["2026-11-20T10:30:00.120Z"])).toEqual([{ at: "2026-11-20T10:30:00.120Z" }]);
  });

  test("that would come out wrong are refused, and the connection goes on", async () => {
    await expect(db.query("select 9007199254740993::int8 as big")).rejects.toThrow(/9007199254740993 is too large/);
    await expect(db.queryInOrganization("org_a", "select 'infinity'::timestamptz as at")).rejects.toThrow(/select it as text/);
    await expect(db.inOrganization("org_a", (tx) => tx.query("select 9007199254740993::int8"))).rejects.toThrow(/is too large/);
    expect(await db.query("select 1 as one")).toEqual([{ one: 1 }]);
  });
});

describe("failures", () => {
  test("a server that is not there is told plainly, without the password", async () => {
    const nowhere = openDatabase({ connectionString: "postgresql://me:hunter2@127.0.0.1:1/runyard", applicationName: "x" });
    const error: unknown = await nowhere.query("select 1").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DatabaseUnavailableError);
    expect(error).toMatchObject({ mayHaveCommitted: false });
    expect(String(error)).toMatch(/cannot be reached \(.*ECONNREFUSED.*\): check that PostgreSQL runs and that DATABASE_URL/);
    expect(String(error)).not.toContain("hunter2");
    await expect(nowhere.listen("changes", () => undefined)).rejects.toBeInstanceOf(DatabaseUnavailableError);
    await nowhere.close();
  });

  test("a wrong password and a missing database each say what to do", async () => {
    const wrong = openDatabase({ connectionString: database.connectionString.replace(/:[^:@/]+@/, ":wrong@"), applicationName: "x" });
    await expect(wrong.query("select 1")).rejects.toThrow(/the password in DATABASE_URL is wrong/);
    const missing = openDatabase({ connectionString: withDatabase(database.connectionString, "nowhere"), applicationName: "x" });
    await expect(missing.query("select 1")).rejects.toThrow(/create that database/);
    await Promise.all([wrong.close(), missing.close()]);
  });

  test("options in the URL stay, and cannot undo ours", async () => {
    const { connectionString } = database;
    const url = `${connectionString}${connectionString.includes("?") ? "&" : "?"}options=-c%20role%3Dnone%20-c%20work_mem%3D5MB&application_name=mine`;
    const own = openDatabase({ connectionString: url, applicationName: "x" });
    expect(await own.query("select current_user as who, current_setting('work_mem') as mem")).toEqual([{ who: "runyard_app", mem: "5MB" }]);
    await own.close();
  });

  test("a connection that is cut in the middle of work is an unavailable database, and the next call works", async () => {
    const cut = db.inOrganization("org_a", async (tx) => {
      const [row] = await tx.query<{ pid: number }>("select pg_backend_pid() as pid");
      await superuser.query("select pg_terminate_backend($1, 5000)", [row?.pid]);
      await tx.query("update notes set body = 'cut' where id = 1");
    });
    const error: unknown = await cut.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DatabaseUnavailableError);
    expect(error).toMatchObject({ mayHaveCommitted: false });
    expect((await bodies())[0]).toBe("of a");
    expect(await db.query("select 1 as one")).toEqual([{ one: 1 }]);
  });

  test("a statement that is cut while it runs may have committed", async () => {
    const own = openDatabase({ connectionString: database.connectionString, applicationName: "to-be-cut" });
    const sleeping = own.queryInOrganization("org_a", "select pg_sleep(20)").catch((thrown: unknown) => thrown);
    const kill =
      "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'to-be-cut' and query like '%pg_sleep%'";
    while ((await superuser.query(kill)).rowCount === 0);
    expect(await sleeping).toMatchObject({ name: "DatabaseUnavailableError", mayHaveCommitted: true });
    await own.close();
  });
});

describe("notifications", () => {
  test("arrive, and a lost connection is made again and told", async () => {
    const heard: (string | null)[] = [];
    const until = async (done: () => boolean): Promise<void> => {
      while (!done()) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    const own = openDatabase({ connectionString: database.connectionString, applicationName: "listener" });
    const subscription = await own.listen("changes", (payload) => heard.push(payload));
    await own.query("select pg_notify('changes', $1)", ["one"]);
    await until(() => heard.length === 1);
    const cut = await superuser.query("select pg_terminate_backend(pid, 5000) from pg_stat_activity where query = 'listen changes'");
    expect(cut.rowCount).toBe(1);
    await until(() => heard.length === 2);
    await own.query("select pg_notify('changes', 'two')");
    await until(() => heard.length === 3);
    expect(heard).toEqual(["one", null, "two"]);
    await subscription.close();
    await own.query("select pg_notify('changes', 'three')");
    const listening = await superuser.query("select from pg_stat_activity where query = 'listen changes'");
    expect(listening.rowCount).toBe(0);
    expect(heard).toHaveLength(3);
    await expect(own.listen("no; drop table notes", () => undefined)).rejects.toThrow(/cannot name a channel/);
    await own.close();
  });
});

import { createHash, randomBytes } from "node:crypto";
import { SCOPES } from "@runyard/sdk/contract";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import type { Database } from "./database.ts";
import { ensureAdministrator } from "./identities.ts";
import { endSession, findSession, insertLoginLink, redeemLoginLink } from "./logins.ts";

let database: TestDatabase;
let db: Database;
let superuser: pg.Client;
const HOUR_MS = 3_600_000;
const owner = { tokenId: "tok_a", orgId: "org_a", userId: "user_a", scopes: [...SCOPES] };

beforeAll(async () => {
  database = await createTestDatabase();
  db = database.db;
  superuser = new pg.Client({ connectionString: database.connectionString });
  await superuser.connect();
  for (const name of ["a", "b"]) {
    const tokenHash = createHash("sha256").update(name).digest();
    const ids = { orgId: `org_${name}`, orgName: name, userId: `user_${name}`, userName: name, tokenId: `tok_${name}` };
    await ensureAdministrator(db, { ...ids, tokenHash, scopes: SCOPES });
  }
});
afterAll(async () => {
  await superuser.end();
  await database.drop();
});

const newHash = (): Buffer => randomBytes(32);
const redeem = (linkHash: Buffer, sessionHash = newHash(), lifetimeMs = HOUR_MS) =>
  redeemLoginLink(db, { linkHash, sessionHash, lifetimeMs });

async function newLink(lifetimeMs = HOUR_MS): Promise<Buffer> {
  const hash = newHash();
  await insertLoginLink(db, { hash, orgId: "org_a", tokenId: "tok_a", lifetimeMs });
  return hash;
}

test("a link is worth one session, also when many come at once", async () => {
  const link = await newLink();
  const sessions = Array.from({ length: 8 }, newHash);
  const got = await Promise.all(sessions.map((session) => redeem(link, session)));
  expect(got.filter(Boolean)).toEqual([true]);
  const found = await Promise.all(sessions.map((session) => findSession(db, session)));
  expect(found.filter((one) => one !== undefined)).toEqual([owner]);
  expect(await redeem(link)).toBe(false);
});

test("what has expired is worth nothing, and is removed", async () => {
  const expired = await newLink(-1);
  expect(await redeem(expired)).toBe(false);
  const session = newHash();
  expect(await redeem(await newLink(), session, -1)).toBe(true);
  expect(await findSession(db, session)).toBeUndefined();
  const living = newHash();
  expect(await redeem(await newLink(), living)).toBe(true);
  const { rows } = await superuser.query("select from runyard.logins where hash = any($1)", [[expired, session]]);
  expect(rows).toEqual([]);
  expect(await findSession(db, living)).toEqual(owner);
});

test("a link is no session, and a session is no link", async () => {
  const link = await newLink();
  expect(await findSession(db, link)).toBeUndefined();
  const session = newHash();
  await redeem(link, session);
  expect(await redeem(session)).toBe(false);
});

test("revoking the token ends its links and sessions", async () => {
  const [link, session] = [await newLink(), newHash()];
  await redeem(await newLink(), session);
  await superuser.query("update runyard.tokens set revoked_at = now() where id = 'tok_a'");
  expect(await findSession(db, session)).toBeUndefined();
  expect(await redeem(link)).toBe(false);
  await superuser.query("update runyard.tokens set revoked_at = null where id = 'tok_a'");
  expect(await findSession(db, session)).toEqual(owner);
});

test("another organization neither sees nor ends a session; its own does", async () => {
  const session = newHash();
  await redeem(await newLink(), session);
  const seen = (orgId: string) => db.queryInOrganization(orgId, "select from runyard.logins where hash = $1", [session]);
  expect(await seen("org_b")).toEqual([]);
  expect(await seen("org_a")).toHaveLength(1);
  await expect(insertLoginLink(db, { hash: newHash(), orgId: "org_b", tokenId: "tok_a", lifetimeMs: HOUR_MS })).rejects.toThrow();
  await endSession(db, { hash: session, orgId: "org_b" });
  expect(await findSession(db, session)).toEqual(owner);
  await endSession(db, { hash: session, orgId: "org_a" });
  expect(await findSession(db, session)).toBeUndefined();
});

import { randomBytes } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PLAIN_AGENT } from "../core/saved-agent.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { makeOrganization, queueRun } from "../testing/queue-run.ts";
import { openHeaders, sealHeaders, sealPlainHeaders } from "./sealed-headers.ts";
import { findSavedAgent, insertSavedAgent } from "./saved-agents.ts";
import { findRun } from "./runs.ts";
import { createVault } from "./vault.ts";

const VALUE = "Bearer decoy-header-value";
const SERVERS = [
  { name: "docs", url: "https://docs.test/mcp", headers: { authorization: VALUE, "x-plain": "" } },
  { name: "own", command: ["node", "x.mjs"], env: { A: "b" } },
];
const vault = createVault(randomBytes(32));

let database: TestDatabase;
let superuser: pg.Client;
beforeAll(async () => {
  database = await createTestDatabase();
  for (const orgId of ["org_a", "org_b"]) await makeOrganization(database.db, orgId);
  superuser = new pg.Client({ connectionString: database.connectionString });
  await superuser.connect();
});
afterAll(async () => {
  await superuser.end();
  await database.drop();
});

test("values of headers are sealed for their server, its address and their organization, and open again", () => {
  const sealed = sealHeaders(vault, "org_a", SERVERS);
  expect(JSON.stringify(sealed)).not.toContain("decoy");
  expect(sealed).toMatchObject([
    { name: "docs", url: "https://docs.test/mcp", headers: { authorization: { keyId: vault.keyId } } },
    SERVERS[1],
  ]);
  expect(openHeaders(vault, "org_a", sealed)).toEqual(SERVERS);
  // What is sealed stays as it is, and what an earlier version stored opens too.
  expect(sealHeaders(vault, "org_a", sealed)).toEqual(sealed);
  expect(openHeaders(vault, "org_a", SERVERS)).toEqual(SERVERS);
  for (const [orgId, change] of [
    ["org_b", {}],
    ["org_a", { url: "https://elsewhere.test/mcp" }],
    ["org_a", { name: "other" }],
  ] as const)
    expect(() => openHeaders(vault, orgId, [{ ...sealed[0]!, ...change }])).toThrow("belongs to something else");
  expect(() => openHeaders(createVault(randomBytes(32)), "org_a", sealed)).toThrow("was encrypted with the key");
});

test("what earlier versions stored as it is, is sealed at the next start, of every organization, once", async () => {
  const { db } = database;
  for (const orgId of ["org_a", "org_b"]) {
    await insertSavedAgent(db, {
      orgId,
      id: `agent_${orgId}`,
      name: "old",
      definition: { ...PLAIN_AGENT, mcpServers: SERVERS },
      dailyCapNano: null,
    });
    const run = await queueRun(db, { orgId, id: `run_${orgId}` });
    await superuser.query("update runyard.runs set spec = $2 where id = $1", [
      run.id,
      JSON.stringify({ ...run.spec, mcpServers: SERVERS }),
    ]);
  }
  const stored = async (): Promise<string> => {
    const rows = await superuser.query<{ text: string }>(
      "select definition::text as text from runyard.agents union all select spec::text from runyard.runs",
    );
    return rows.rows.map(({ text }) => text).join("\n");
  };
  // As the migration marks them.
  await superuser.query("update runyard.agents set plain_headers = true; update runyard.runs set plain_headers = true");
  expect(await stored()).toContain("decoy");
  expect(await sealPlainHeaders(db, vault)).toBe(4);
  expect(await stored()).not.toContain("decoy");
  expect(await sealPlainHeaders(db, vault)).toBe(0);
  for (const orgId of ["org_a", "org_b"]) {
    const agent = await findSavedAgent(db, orgId, "old");
    expect(openHeaders(vault, orgId, agent?.definition.mcpServers ?? [])).toEqual(SERVERS);
    const found = await findRun(db, orgId, `run_${orgId}`);
    expect(openHeaders(vault, orgId, found?.run.spec.mcpServers ?? [])).toEqual(SERVERS);
  }
});

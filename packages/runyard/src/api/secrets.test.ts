// Secrets over the real engine and a real PostgreSQL: what is stored, who may, and what is never given out.
import { randomBytes } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RunyardClient } from "@runyard/sdk";
import { findSecrets, openSecret } from "../store/secrets.ts";
import { createVault, WrongKeyError } from "../store/vault.ts";
import { openServedDoor, serve, type Served } from "./testing/served.ts";

const VALUE = "decoy/value+of-a+secret";
const vault = createVault(randomBytes(32));
let served: Served;
let superuser: pg.Client;
beforeAll(async () => {
  served = await serve({ vault });
  await served.addToken("reader", { orgId: "org_a", scopes: ["organization:read"] });
  await served.addToken("worker", { orgId: "org_a", scopes: ["agent:read", "agent:write", "agent:execute"] });
  superuser = new pg.Client({ connectionString: served.database.connectionString });
  await superuser.connect();
});
afterAll(async () => {
  await superuser?.end();
  await served?.close();
});

const ask: Served["ask"] = (...request) => served.ask(...request);

const values = async (names: readonly string[], repositoryUrl = "/elsewhere", agentId: string | null = null, orgId = "org_a") =>
  (await findSecrets(served.database.db, { orgId, names, repositoryUrl, agentId })).map((row) => openSecret(vault, row).value);

test("a secret is stored, listed without its value, replaced and deleted", async () => {
  const { secrets } = served.client;
  const stored = await secrets.set({ name: "TOKEN", value: VALUE });
  expect(stored).toMatchObject({ name: "TOKEN", scope: "organization", repository: null, agent: null, keyId: vault.keyId, usable: true });
  expect(await values(["TOKEN"])).toEqual([VALUE]);
  const listed = await ask("GET", "/secrets");
  expect(listed.body).toMatchObject({ data: [stored], has_more: false });
  expect(listed.text).not.toContain(VALUE);
  const again = await secrets.set({ name: "TOKEN", value: "another decoy" });
  expect(again).toMatchObject({ id: stored.id, createdAt: stored.createdAt });
  expect(await values(["TOKEN"])).toEqual(["another decoy"]);
  await secrets.delete(stored.id);
  expect((await secrets.list()).data).toEqual([]);
  await expect(secrets.delete(stored.id)).rejects.toMatchObject({ code: "secret_not_found" });
  await expect(secrets.delete("nonsense")).rejects.toMatchObject({ code: "secret_not_found" });
});

test("the database has ciphertext only, of which nothing shows the value", async () => {
  await served.client.secrets.set({ name: "DUMPED", value: VALUE });
  const { rows } = await superuser.query<{ row: string }>(
    "select row_to_json(s)::text as row from runyard.secrets s where name = 'DUMPED'",
  );
  expect(rows).toHaveLength(1);
  expect(rows[0]?.row).toContain("DUMPED");
  const bytes = await superuser.query<{ sealed: Buffer }>("select sealed from runyard.secrets where name = 'DUMPED'");
  const sealed = bytes.rows[0]?.sealed ?? Buffer.alloc(0);
  expect(sealed.length).toBe(12 + 16 + VALUE.length);
  expect(sealed.includes(VALUE)).toBe(false);
  expect(vaultFinds(sealed)).toBe(false);
  // The control: the same look finds a value that stands as it is.
  expect(vaultFinds(Buffer.from(`x${VALUE}`))).toBe(true);
  // One that was put into another's place does not open.
  await superuser.query(
    "insert into runyard.secrets (id, org_id, name, key_id, sealed) select 'secret_x', org_id, 'MOVED', key_id, sealed from runyard.secrets where name = 'DUMPED'",
  );
  await expect(values(["MOVED"])).rejects.toThrow("belongs to something else");
});

function vaultFinds(bytes: Buffer): boolean {
  return bytes.includes(VALUE) || bytes.includes(Buffer.from(VALUE).toString("base64").slice(0, 20));
}

test("of two secrets of one name, an agent's comes before a repository's, and that before the organization's", async () => {
  const { secrets, repositories, agents } = served.client;
  const repository = await repositories.create("/scoped");
  const agent = await agents.create({ name: "scoped" });
  await secrets.set({ name: "SCOPED", value: "of the organization" });
  const ofRepository = await secrets.set({ name: "SCOPED", value: "of the repository", repository: repository.id });
  const ofAgent = await secrets.set({ name: "SCOPED", value: "of the agent", agent: "scoped" });
  expect([ofRepository, ofAgent]).toMatchObject([
    { scope: "repository", repository: repository.id, agent: null },
    { scope: "agent", repository: null, agent: "scoped" },
  ]);
  expect(await values(["SCOPED"])).toEqual(["of the organization"]);
  expect(await values(["SCOPED"], "/scoped")).toEqual(["of the repository"]);
  expect(await values(["SCOPED"], "/scoped", agent.id)).toEqual(["of the agent"]);
  // An agent's secrets go with it.
  await agents.delete("scoped");
  expect(await values(["SCOPED"], "/scoped", agent.id)).toEqual(["of the repository"]);

  await expect(secrets.set({ name: "A", value: VALUE, agent: "nobody" })).rejects.toMatchObject({ code: "agent_not_found" });
  const foreign = `repo_${"0".repeat(26)}`;
  await expect(secrets.set({ name: "A", value: VALUE, repository: foreign })).rejects.toMatchObject({ code: "repository_not_found" });
  const both = await ask("POST", "/secrets", { body: { name: "A", value: VALUE, agent: "x", repository: foreign } });
  expect(both).toMatchObject({ status: 422, body: { detail: "give a repository or an agent, not both" } });
});

test("another organization neither sees nor uses a secret, nor one that it names", async () => {
  await served.client.secrets.set({ name: "MINE", value: VALUE });
  const repository = await served.client.repositories.create("/mine");
  const listed = await ask("GET", "/secrets", { token: "token-b" });
  expect(listed).toMatchObject({ status: 200, body: { data: [] } });
  expect(await values(["MINE"], "/mine", null, "org_b")).toEqual([]);
  const run = { task: "x", repositoryUrl: "/mine", secrets: ["MINE"] };
  expect(await ask("POST", "/agent-runs", { token: "token-b", body: run })).toMatchObject({
    status: 422,
    body: { code: "unknown_secret" },
  });
  const other = await ask("POST", "/secrets", { token: "token-b", body: { name: "X", value: VALUE, repository: repository.id } });
  expect(other).toMatchObject({ status: 404, body: { code: "repository_not_found" } });
  const { data } = await served.client.secrets.list({ limit: 1 });
  expect(await ask("DELETE", `/secrets/${data[0]?.id}`, { token: "token-b" })).toMatchObject({ status: 404 });
  // The control: the organization itself may.
  expect(await ask("POST", "/agent-runs", { body: run })).toMatchObject({ status: 201, body: { secrets: ["MINE"] } });
  expect(await ask("DELETE", `/secrets/${data[0]?.id}`)).toMatchObject({ status: 204 });
});

test("who may not, may not", async () => {
  for (const token of ["reader", "worker"])
    expect(await ask("POST", "/secrets", { token, body: { name: "X", value: VALUE } })).toMatchObject({ status: 403 });
  expect(await ask("GET", "/secrets", { token: "worker" })).toMatchObject({ status: 403 });
  expect(await ask("GET", "/secrets", { token: "reader" })).toMatchObject({ status: 200 });
});

test.each([
  ["short", "must have at least 6 characters: a shorter one cannot be masked safely"],
  ["  ab   ", "must have at least 6 characters"],
  ["x".repeat(32_769), "Too big"],
  ["decoy\0value", "must not contain NUL"],
  ["completed", "must not be one of the words that Runyard's own log is made of"],
  ["message_chunk", "must not be one of the words that Runyard's own log is made of"],
])("the value %j is refused, and never said back", async (value, message) => {
  const refused = await ask("POST", "/secrets", { body: { name: "X", value } });
  expect(refused).toMatchObject({ status: 422, body: { code: "invalid_request", errors: [{ path: "value" }] } });
  expect(refused.text).toContain(message);
  if (value.length > 5) expect(refused.text).not.toContain(value);
  expect(await ask("POST", "/secrets", { body: { name: "X", value: "sixsix" } })).toMatchObject({ status: 200 });
});

test("a secret for a header is stored with its place, which is authenticated with it", async () => {
  const { secrets } = served.client;
  const stored = await secrets.set({ name: "PLACED", value: VALUE, host: "API.Example.com:443", header: "X-Api-Key:{value}" });
  expect(stored).toMatchObject({ host: "api.example.com", header: "x-api-key: {value}" });
  const find = async () =>
    (await findSecrets(served.database.db, { orgId: "org_a", names: ["PLACED"], repositoryUrl: "/", agentId: null }))[0]!;
  expect(openSecret(vault, await find())).toEqual({
    name: "PLACED",
    value: VALUE,
    place: { host: "api.example.com", header: "x-api-key: {value}" },
  });
  // Whoever can write to the database sends it nowhere else, and into no environment either.
  for (const change of ["host = 'evil.example.com'", "header = 'x-other: {value}'", "host = null, header = null"]) {
    await superuser.query(`update runyard.secrets set ${change} where name = 'PLACED'`);
    const row = await find();
    expect(() => openSecret(vault, row)).toThrow("belongs to something else");
    await secrets.set({ name: "PLACED", value: VALUE, host: "api.example.com", header: "x-api-key: {value}" });
  }
  // Stored anew without a place, it is a variable again.
  expect(await secrets.set({ name: "PLACED", value: VALUE })).toMatchObject({ id: stored.id, host: null, header: null });
  expect(openSecret(vault, await find()).place).toBeNull();
});

test.each<readonly [{ readonly host?: string; readonly header?: string }, string, string]>([
  [{ host: "api.example.com" }, "header", "must come with host, and host with it"],
  [{ header: "x-key: {value}" }, "header", "must come with host, and host with it"],
  ...[
    "*.example.com",
    "npm",
    "localhost",
    "127.0.0.1",
    "https://api.example.com",
    "api.example.com/x",
    "api.example.com:0",
    "a.b:70000",
  ].map((host) => [{ host, header: "x-key: {value}" }, "host", "must be one host like registry.example.com"] as const),
  ...[
    "authorization: Bearer",
    "{value}",
    ": {value}",
    "x key: {value}",
    "x-key: {value}\r\nhost: evil",
    "x-key: {value}\n",
    "x-k\u00e9y: {value}",
  ].map((header) => [{ host: "api.example.com", header }, "header", "must be one header's line with {value} in it"] as const),
  ...[
    "Host",
    "content-length",
    "Content-Type",
    "Transfer-Encoding",
    "connection",
    "Keep-Alive",
    "upgrade",
    "te",
    "Trailer",
    "expect",
    "Range",
  ]
    .concat(["proxy-authorization", "Accept-Encoding", "sec-websocket-key", "http2-settings"])
    .map((name) => [{ host: "api.example.com", header: `${name}: {value}` }, "header", "must be another header"] as const),
])("the place %j is refused", async (place, path, message) => {
  const refused = await ask("POST", "/secrets", { body: { name: "X", value: VALUE, ...place } });
  expect(refused).toMatchObject({ status: 422, body: { code: "invalid_request", errors: [{ path }] } });
  expect(refused.text).toContain(message);
});

test.each([
  ["decoy of\r\nx: several lines", "must be one line of visible ASCII characters"],
  ["decoy of a tab\t and more", "must be one line of visible ASCII characters"],
  ["decoy mit Umläuten", "must be one line of visible ASCII characters"],
  [" decoy with a space", "must be one line of visible ASCII characters"],
  ["decoy-of-11", "must have at least 12 characters, since it is for a header"],
  ["x".repeat(8_193), "must have at most 8192 characters, since it is for a header"],
])("the value %j cannot go into a header", async (value, message) => {
  const body = { name: "X", value, host: "api.example.com", header: "x-key: {value}" };
  const refused = await ask("POST", "/secrets", { body });
  expect(refused).toMatchObject({ status: 422, body: { code: "invalid_request", errors: [{ path: "value" }] } });
  expect(refused.text).toContain(message);
  expect(refused.text).not.toContain(value);
  // The control: as a variable it may be.
  if (value.length < 8_000) expect(await ask("POST", "/secrets", { body: { name: "X", value } })).toMatchObject({ status: 200 });
});

test("a run is not given two secrets for one header, nor one without a sandbox", async () => {
  const { secrets, runs } = served.client;
  for (const name of ["FIRST", "SECOND"])
    await secrets.set({ name, value: VALUE, host: "api.example.com", header: "authorization: Bearer {value}" });
  const run = { task: "x", repositoryUrl: "/headers" };
  await expect(runs.create({ ...run, secrets: ["FIRST"] })).rejects.toMatchObject({
    code: "sandbox_not_available",
    message: expect.stringMatching(/^The secret FIRST is for a header of api\.example\.com, .* needs the sandbox driver bwrap\./) as string,
  });
  const isolation = { filesystem: "hard", network: "hard", processes: "hard", syscalls: "hard" } as const;
  const isolated = { vault, probeSandbox: async () => ({ available: true, reason: null, isolation }) };
  const { door } = await openServedDoor(served.database.db, isolated);
  try {
    const client = new RunyardClient({ baseUrl: door.url, token: "token-a" });
    expect((await client.runs.create({ ...run, secrets: ["FIRST"] })).secrets).toEqual(["FIRST"]);
    await expect(client.runs.create({ ...run, secrets: ["FIRST", "SECOND"] })).rejects.toMatchObject({
      code: "invalid_request",
      message: expect.stringMatching(
        /^The secrets FIRST and SECOND are both for the header authorization of api\.example\.com\./,
      ) as string,
    });
    // What the organization does not allow its runs to reach, a secret does not open.
    await client.organization.update({ egressAllowed: ["other.example.com"] });
    await expect(client.runs.create({ ...run, secrets: ["FIRST"] })).rejects.toMatchObject({
      code: "egress_not_allowed",
      message: expect.stringContaining(
        "The secret FIRST is for a header of api.example.com, which the organization does not allow",
      ) as string,
    });
    await client.organization.update({ egressAllowed: ["*.example.com"] });
    expect((await client.runs.create({ ...run, secrets: ["FIRST"] })).secrets).toEqual(["FIRST"]);
    await client.organization.update({ egressAllowed: null });
  } finally {
    await door.close();
  }
});

test("a run names secrets that there are, by itself and by its settings", async () => {
  const { secrets, repositories, agents, runs } = served.client;
  const { id } = await repositories.create("/named");
  await secrets.set({ name: "OF_REPOSITORY", value: VALUE, repository: id });
  await secrets.set({ name: "OF_ALL", value: VALUE });
  await agents.create({ name: "named", secrets: ["OF_AGENT"] });
  await repositories.update(id, { secrets: ["OF_REPOSITORY"] });
  const create = (input: object) => runs.create({ task: "x", repositoryUrl: "/named", ...input });
  expect((await create({ secrets: ["OF_ALL"] })).secrets).toEqual(["OF_REPOSITORY", "OF_ALL"]);
  // A plain value in the place of a more general secret.
  expect(await create({ environment: { OF_REPOSITORY: "plain" } })).toMatchObject({ secrets: [], environment: { OF_REPOSITORY: "plain" } });
  await expect(create({ agent: { name: "named" } })).rejects.toMatchObject({
    code: "unknown_secret",
    message: "There is no secret OF_AGENT for runs of this repository and agent. Store it (runyard secrets set OF_AGENT), or leave it out.",
  });
  await secrets.set({ name: "OF_AGENT", value: VALUE, agent: "named" });
  expect((await create({ agent: { name: "named" } })).secrets).toEqual(["OF_REPOSITORY", "OF_AGENT"]);
  await expect(create({ secrets: ["OF_AGENT", "NOT_THERE"] })).rejects.toMatchObject({
    message: expect.stringContaining("no secrets OF_AGENT, NOT_THERE") as string,
  });
});

test("a server with another key lists a secret as not usable, and opens none", async () => {
  await served.client.secrets.set({ name: "SHARED", value: VALUE });
  const other = createVault(randomBytes(32));
  const { door } = await openServedDoor(served.database.db, { vault: other });
  const client = new RunyardClient({ baseUrl: door.url, token: "token-a" });
  const find = async () => (await client.secrets.list({ limit: 100 })).data.find((one) => one.name === "SHARED");
  expect(await find()).toMatchObject({ usable: false, keyId: vault.keyId });
  const [row] = await findSecrets(served.database.db, { orgId: "org_a", names: ["SHARED"], repositoryUrl: "/", agentId: null });
  if (row === undefined) throw new Error("the secret is not there");
  expect(() => openSecret(other, row)).toThrow(WrongKeyError);
  expect(openSecret(vault, row)).toEqual({ name: "SHARED", value: VALUE, place: null });
  await client.secrets.set({ name: "SHARED", value: VALUE });
  expect(await find()).toMatchObject({ usable: true, keyId: other.keyId });
  await door.close();
});

test("lists come in pages", async () => {
  const all: string[] = [];
  for await (const one of served.client.secrets.list({ limit: 2 })) all.push(one.id);
  expect(all.length).toBeGreaterThan(3);
  expect(new Set(all).size).toBe(all.length);
});

test("headers of MCP servers are stored encrypted, those of a run like those of a saved agent", async () => {
  const headers = { authorization: `Bearer ${VALUE}` };
  const mcpServers = [{ name: "docs", url: "https://docs.test/mcp", headers }];
  const { id: agent } = await served.client.agents.create({ name: "with-headers", mcpServers });
  await served.client.agents.update(agent, { mcpServers: [...mcpServers, { name: "more", url: "https://more.test/mcp", headers }] });
  const input = { task: "x", repositoryUrl: "/headers", agent: { name: "with-headers" }, mcpServers: [{ ...mcpServers[0]!, name: "own" }] };
  const run = await served.client.runs.create(input);
  expect(run.mcpServers.map(({ name, headers: shown }) => [name, shown])).toEqual(
    ["docs", "more", "own"].map((name) => [name, { authorization: "[hidden]" }]),
  );
  const { rows } = await superuser.query<{ text: string }>(
    "select definition::text as text from runyard.agents where id = $1 union all select spec::text from runyard.runs where id = $2",
    [agent, run.id],
  );
  expect(rows).toHaveLength(2);
  for (const { text } of rows) {
    expect(text).toContain("https://more.test/mcp");
    expect(text).not.toContain(VALUE);
  }
});

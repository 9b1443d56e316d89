// Credentials over the real engine and a real PostgreSQL: what is stored, who may, and what is never given out.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseRemoteUrl, type RemoteUrl } from "../core/repository-url.ts";
import { credentialFor } from "../engine/credentials.ts";
import { pinHost } from "../store/credentials.ts";
import { createVault } from "../store/vault.ts";
import { openServedDoor, serve, type Served } from "./testing/served.ts";

const VALUE = "decoy/token+of-a+server";
const KEY =
  "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZWQyNTUx\n-----END OPENSSH PRIVATE KEY-----\n";
const APP_KEY = generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey.export({ type: "pkcs1", format: "pem" }).toString();
const EC_KEY = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }).toString();
const HOSTS = "git.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA\n";
const vault = createVault(randomBytes(32));
let served: Served;
let superuser: pg.Client;
beforeAll(async () => {
  served = await serve({ vault, githubHosts: ["ghe.example"] });
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

const shownTo = (url: string, orgId = "org_a") => credentialFor({ db: served.database.db, vault }, orgId, parseRemoteUrl(url) as RemoteUrl);

test("a credential is stored, listed without its value, replaced and deleted", async () => {
  const { credentials } = served.client;
  const stored = await credentials.set({ kind: "token", url: "https://Git.example:443/acme/", token: VALUE });
  expect(stored).toMatchObject({ url: "https://git.example/acme", kind: "token", username: "x-access-token", usable: true });
  const listed = await ask("GET", "/credentials");
  expect(listed.body).toMatchObject({ data: [stored], has_more: false });
  expect(listed.text).not.toContain(VALUE);
  expect(await shownTo("https://git.example/acme/app.git")).toMatchObject({ kind: "token", username: "x-access-token", token: VALUE });
  expect(await shownTo("https://git.example/other/app.git")).toBeNull();
  expect(await shownTo("https://git.example/acme/app.git", "org_b")).toBeNull();
  const again = await credentials.set({ kind: "token", url: "https://git.example/acme", token: "another decoy", username: "me" });
  expect(again).toMatchObject({ id: stored.id, createdAt: stored.createdAt, username: "me" });
  expect(await shownTo("https://git.example/acme/app.git")).toMatchObject({ username: "me", token: "another decoy" });
  await credentials.set({ kind: "token", url: "https://git.example/acme/app", token: "of the repository" });
  expect(await shownTo("https://git.example/acme/app.git")).toMatchObject({ token: "of the repository" });
  for (const { id } of (await credentials.list()).data) await credentials.delete(id);
  expect((await credentials.list()).data).toEqual([]);
  await expect(credentials.delete(stored.id)).rejects.toMatchObject({ code: "credential_not_found" });
  await expect(credentials.delete("nonsense")).rejects.toMatchObject({ code: "credential_not_found" });
});

test("a key keeps what its host must show, which is learned once", async () => {
  const { credentials } = served.client;
  const given = await credentials.set({ kind: "ssh-key", url: "git@git.example:acme", privateKey: KEY, knownHosts: HOSTS });
  expect(given).toMatchObject({ url: "git@git.example:acme", kind: "ssh-key", username: null, knownHosts: HOSTS });
  expect(await shownTo("git@git.example:acme/app.git")).toMatchObject({ privateKey: KEY, knownHosts: HOSTS });
  const learning = await credentials.set({ kind: "ssh-key", url: "ssh://git@git.example", privateKey: KEY });
  expect(learning.knownHosts).toBeNull();
  for (const knownHosts of [HOSTS, HOSTS.replace("AAAAC3", "BBBBC3")])
    await pinHost(served.database.db, "org_a", { id: learning.id, knownHosts });
  await pinHost(served.database.db, "org_b", { id: learning.id, knownHosts: "nothing" });
  expect(await shownTo("ssh://git@git.example/other")).toMatchObject({ knownHosts: HOSTS });
});

test("an app is stored with its id, and takes the place of a token and gives it back", async () => {
  const { credentials } = served.client;
  const url = "https://github.com/acme";
  const stored = await credentials.set({ kind: "github-app", url, appId: "Iv23liCanary", privateKey: APP_KEY });
  expect(stored).toMatchObject({ url, kind: "github-app", appId: "Iv23liCanary", username: null, knownHosts: null, usable: true });
  const listed = await ask("GET", "/credentials");
  expect(listed.body).toMatchObject({ data: expect.arrayContaining([stored]) as unknown });
  expect(listed.text).not.toContain(APP_KEY.split("\n")[1]);
  expect(await shownTo(`${url}/app.git`)).toEqual({ kind: "github-app", id: stored.id, appId: "Iv23liCanary", privateKey: APP_KEY });
  const { rows } = await superuser.query<{ sealed: Buffer }>("select sealed from runyard.credentials where id = $1", [stored.id]);
  expect(rows[0]?.sealed.includes(APP_KEY.split("\n")[1]!)).toBe(false);
  // Whoever writes to the database makes it no other app's key.
  await superuser.query("update runyard.credentials set username = '99' where id = $1", [stored.id]);
  await expect(shownTo(`${url}/app.git`)).rejects.toMatchObject({ code: "repository_not_usable" });
  expect(await credentials.set({ kind: "token", url, token: VALUE })).toMatchObject({ id: stored.id, kind: "token", appId: null });
  await credentials.set({ kind: "github-app", url: "https://ghe.example", appId: "7", privateKey: APP_KEY });
  for (const { id } of (await credentials.list()).data) await credentials.delete(id);
});

test("the database has ciphertext only, which opens for no other URL, user or organization", async () => {
  const stored = await served.client.credentials.set({ kind: "token", url: "https://dump.example", token: VALUE });
  const { rows } = await superuser.query<{ row: string; sealed: Buffer }>(
    "select row_to_json(c)::text as row, sealed from runyard.credentials c where id = $1",
    [stored.id],
  );
  expect(rows[0]?.row).toContain("dump.example");
  expect(rows[0]?.row).not.toContain(VALUE);
  expect(rows[0]?.sealed.includes(VALUE)).toBe(false);
  await superuser.query("update runyard.credentials set url = 'https://evil.example' where id = $1", [stored.id]);
  await expect(shownTo("https://evil.example/a")).rejects.toMatchObject({ code: "repository_not_usable" });
  await superuser.query("update runyard.credentials set url = 'https://dump.example', username = 'other' where id = $1", [stored.id]);
  await expect(shownTo("https://dump.example/a")).rejects.toMatchObject({ code: "repository_not_usable" });
  await superuser.query("update runyard.credentials set username = 'x-access-token' where id = $1", [stored.id]);
  expect(await shownTo("https://dump.example/a")).toMatchObject({ token: VALUE });
});

test("a server with another key says so, and shows nothing", async () => {
  await served.client.credentials.set({ kind: "token", url: "https://locked.example", token: VALUE });
  const other = createVault(randomBytes(32));
  const url = parseRemoteUrl("https://locked.example/a") as RemoteUrl;
  await expect(credentialFor({ db: served.database.db, vault: other }, "org_a", url)).rejects.toThrow(
    /cannot be read: it was encrypted with the key/,
  );
  const { door } = await openServedDoor(served.database.db, { vault: other });
  const listed = await fetch(`${door.url}/v1/credentials?limit=1`, { headers: { authorization: "Bearer token-a" } });
  expect(await listed.json()).toMatchObject({ data: [{ usable: false }] });
  await door.close();
});

test("scopes, and other organizations", async () => {
  const body = { kind: "token", url: "https://mine.example", token: VALUE };
  const stored = await ask("POST", "/credentials", { body });
  expect(await ask("GET", "/credentials", { token: "reader" })).toMatchObject({ status: 200 });
  expect(await ask("POST", "/credentials", { token: "reader", body })).toMatchObject({ status: 403 });
  for (const method of ["GET", "POST"]) expect(await ask(method, "/credentials", { token: "worker" })).toMatchObject({ status: 403 });
  expect(await ask("GET", "/credentials", { token: "token-b" })).toMatchObject({ status: 200, body: { data: [] } });
  expect(await ask("DELETE", `/credentials/${String(stored.body["id"])}`, { token: "token-b" })).toMatchObject({ status: 404 });
});

const token = (rest: object): object => ({ kind: "token", url: "https://git.example", token: VALUE, ...rest });
const app = (rest: object): object => ({ kind: "github-app", url: "https://github.com/acme", appId: "7", privateKey: APP_KEY, ...rest });
const key = (rest: object): object => ({ kind: "ssh-key", url: "git@git.example:acme", privateKey: KEY, ...rest });
test.each([
  [token({ url: `https://me:${VALUE}@git.example` }), /must not hold a user name, password or token/],
  [token({ url: "http://git.example" }), /goes by http/],
  [token({ url: "ssh://git@git.example" }), /A token goes with an https/],
  [token({ url: "/srv/app" }), /must look like/],
  [token({ url: "" }), /url/],
  [token({ token: "short" }), /token/],
  [token({ token: "two\nlines of a token" }), /one line/],
  [token({ username: "a\nb" }), /one line/],
  [token({ privateKey: KEY }), /privateKey: is not known here/],
  [key({ url: "https://git.example" }), /A token goes with an https/],
  [key({ privateKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me" }), /public key/],
  [key({ knownHosts: "nothing of it" }), /known_hosts/],
  [app({ url: "https://git.example/acme" }), /git\.example is no GitHub server.*RUNYARD_GITHUB_HOSTS/],
  [app({ url: "git@github.com:acme" }), /as a GitHub App does/],
  [app({ appId: "my app" }), /appId: must be the id of a GitHub App/],
  [app({ appId: undefined }), /appId/],
  [app({ privateKey: EC_KEY }), /RSA only/],
  [app({ privateKey: VALUE }), /no private key/],
  [app({ username: "me" }), /username: is not known here/],
  [{ kind: "password", url: "https://git.example" }, /kind/],
  [{}, /kind/],
])("bad input is refused in a sentence, and no value is repeated: %#", async (body, why) => {
  const refused = await ask("POST", "/credentials", { body });
  expect(refused).toMatchObject({ status: 422, body: { code: "invalid_request", detail: expect.stringMatching(why) as string } });
  for (const value of [VALUE, APP_KEY.split("\n")[1]!, EC_KEY.split("\n")[1]!]) expect(refused.text).not.toContain(value);
});

import { RunyardClient } from "@runyard/sdk";
import { loginLinkSchema } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openEvents, until } from "./testing/door.ts";
import { serve, type Served } from "./testing/served.ts";

// Signing in with a browser, over the real engine and a real database.
let served: Served;
beforeAll(async () => {
  served = await serve();
});
afterAll(() => served?.close());

const visit = (url: string, headers: Record<string, string> = {}, method = "GET") =>
  fetch(new URL(url, served.door.url), { method, headers, redirect: "manual" });

/** Follows a new link; gives the browser's cookie. */
async function signIn(client = served.client): Promise<string> {
  const response = await visit((await client.createLoginLink()).url);
  expect(response.status).toBe(303);
  return (response.headers.get("set-cookie") ?? "").split(";")[0] ?? "";
}

async function codeOf(response: Response): Promise<unknown> {
  return ((await response.json()) as { code?: unknown }).code;
}

const sql = (text: string) => served.database.db.inOrganization("org_a", (tx) => tx.query(text));

describe("a link", () => {
  test("signs in once, and sends the browser on", async () => {
    const link = loginLinkSchema.parse(await served.client.createLoginLink());
    expect(link.url).toMatch(new RegExp(`^${served.door.url}/login\\?code=ryl_[\\w-]{43}$`));
    const leftMs = Date.parse(link.expiresAt) - Date.now();
    expect(leftMs).toBeGreaterThan(5 * 60_000);
    expect(leftMs).toBeLessThanOrEqual(11 * 60_000);
    // What only looks does not use it up.
    expect((await visit(link.url, {}, "HEAD")).status).toBe(200);
    const response = await visit(link.url);
    expect([response.status, response.headers.get("location")]).toEqual([303, "/docs"]);
    const attributes = (response.headers.get("set-cookie") ?? "").split("; ");
    expect(attributes[0]).toMatch(new RegExp(`^runyard-${served.door.port}=rys_[\\w-]{43}$`));
    expect(attributes.slice(1).sort()).toEqual(["HttpOnly", "Max-Age=43200", "Path=/", "SameSite=Strict"]);
    const again = await visit(link.url);
    expect(again.status).toBe(410);
    expect(again.headers.get("set-cookie")).toBeNull();
    expect(await again.text()).toContain("runyard open");
  });

  test("that is none, or was cut, is worth nothing", async () => {
    const { url } = await served.client.createLoginLink();
    for (const bad of ["/login", "/login?code=", "/login?code=%00", `/login?code=${"x".repeat(200)}`, url.slice(0, -1), `${url}x`]) {
      expect([bad, (await visit(bad)).status]).toEqual([bad, 410]);
    }
    expect((await visit(url)).status).toBe(303);
  });

  test("that has expired is worth nothing", async () => {
    const { url } = await served.client.createLoginLink();
    await sql("update runyard.logins set expires_at = now() where kind = 'link'");
    expect((await visit(url)).status).toBe(410);
  });

  test("followed from another site's page still ends up signed in", async () => {
    const { url } = await served.client.createLoginLink();
    const response = await visit(url, { "sec-fetch-site": "cross-site" });
    expect(response.status).toBe(200);
    expect(response.headers.get("set-cookie")).toContain("rys_");
    expect(await response.text()).toContain('content="0;url=/docs"');
  });

  test("is made by administrators only, and as they are", async () => {
    await served.addToken("reader", { orgId: "org_a", scopes: ["agent:read"] });
    const reader = new RunyardClient({ baseUrl: served.door.url, token: "reader" });
    await expect(reader.createLoginLink()).rejects.toMatchObject({ status: 403, code: "forbidden" });
    await served.addToken("narrow", { orgId: "org_a", scopes: ["agent:read", "organization:admin"] });
    const cookie = await signIn(new RunyardClient({ baseUrl: served.door.url, token: "narrow" }));
    expect((await visit("/v1/agent-runs", { cookie })).status).toBe(200);
    const headers = { cookie, origin: served.door.url, "content-type": "application/json" };
    const response = await fetch(`${served.door.url}/v1/agent-runs`, { method: "POST", headers, body: "{}" });
    expect([response.status, await codeOf(response)]).toEqual([403, "forbidden"]);
  });
});

describe("a session", () => {
  test("reads what its token may read, and only of its organization", async () => {
    const cookie = await signIn();
    const run = await served.client.runs.create({ task: "mine", repositoryUrl: "/r" });
    const response = await visit(`/v1/agent-runs/${run.id}`, { cookie });
    expect([response.status, ((await response.json()) as { id: string }).id]).toEqual([200, run.id]);
    const other = await signIn(new RunyardClient({ baseUrl: served.door.url, token: "token-b" }));
    const foreign = await visit(`/v1/agent-runs/${run.id}`, { cookie: other });
    expect([foreign.status, await codeOf(foreign)]).toEqual([404, "run_not_found"]);
  });

  test("is no bearer token, and a token is no session", async () => {
    const cookie = await signIn();
    const secret = cookie.split("=")[1] ?? "";
    expect((await visit("/v1/agent-runs", { authorization: `Bearer ${secret}` })).status).toBe(401);
    expect((await visit("/v1/agent-runs", { cookie: `runyard-${served.door.port}=token-a` })).status).toBe(401);
    // Where there is a token, it alone counts.
    expect((await visit("/v1/agent-runs", { cookie, authorization: "Bearer wrong" })).status).toBe(401);
  });

  test("changes things from the server's own pages only", async () => {
    const cookie = await signIn();
    const post = (headers: Record<string, string>) =>
      fetch(`${served.door.url}/v1/agent-runs`, {
        method: "POST",
        headers: { cookie, "content-type": "application/json", ...headers },
        body: JSON.stringify({ task: "x", repositoryUrl: "/r" }),
      });
    expect((await post({ origin: served.door.url })).status).toBe(201);
    expect((await post({ origin: served.door.url, "sec-fetch-site": "same-origin" })).status).toBe(201);
    const otherPort = `http://127.0.0.1:${served.door.port + 1}`;
    for (const headers of [
      {},
      { origin: otherPort },
      { origin: "null" },
      { origin: "https://evil.example" },
      { origin: served.door.url, "sec-fetch-site": "same-site" },
      { origin: served.door.url, "sec-fetch-site": "cross-site" },
    ]) {
      const response = await post(headers);
      expect([headers, response.status, await codeOf(response)]).toEqual([headers, 403, "foreign_origin"]);
    }
    // A program with a token names no origin.
    expect((await post({ authorization: "Bearer token-a" })).status).toBe(201);
  });

  test("is not lent to pages of other ports or sites, not even to read", async () => {
    const cookie = await signIn();
    for (const site of ["none", "same-origin"]) {
      expect([site, (await visit("/v1/agent-runs", { cookie, "sec-fetch-site": site })).status]).toEqual([site, 200]);
    }
    for (const site of ["same-site", "cross-site"]) {
      expect([site, (await visit("/v1/agent-runs", { cookie, "sec-fetch-site": site })).status]).toEqual([site, 403]);
      expect([site, (await visit("/docs", { cookie, "sec-fetch-site": site })).status]).toEqual([site, 401]);
      const framed = { cookie, "sec-fetch-site": site, "sec-fetch-dest": "iframe", "sec-fetch-mode": "navigate" };
      expect([site, (await visit("/docs", framed)).status]).toEqual([site, 401]);
    }
    // A link may be followed; what changes something is refused even so.
    const followed = { cookie, "sec-fetch-site": "same-site", "sec-fetch-dest": "document", "sec-fetch-mode": "navigate" };
    expect((await visit("/docs", followed)).status).toBe(200);
    expect((await visit("/v1/auth/logout", { ...followed, origin: served.door.url }, "POST")).status).toBe(403);
  });

  test("ends with logging out, for itself alone", async () => {
    const [mine, another] = [await signIn(), await signIn()];
    expect((await visit("/v1/auth/logout", { cookie: mine }, "POST")).status).toBe(403);
    const response = await visit("/v1/auth/logout", { cookie: mine, origin: served.door.url }, "POST");
    expect(response.status).toBe(204);
    expect(response.headers.get("set-cookie")).toMatch(/^runyard-\d+=; Max-Age=0; Path=\//);
    expect((await visit("/v1/agent-runs", { cookie: mine })).status).toBe(401);
    expect((await visit("/v1/agent-runs", { cookie: another })).status).toBe(200);
  });

  test("ends with its time, and with its token", async () => {
    const cookie = await signIn();
    await sql("update runyard.logins set expires_at = now() where kind = 'session'");
    expect((await visit("/v1/agent-runs", { cookie })).status).toBe(401);
    await served.addToken("short-lived", { orgId: "org_a", scopes: ["agent:read", "organization:admin"] });
    const short = await signIn(new RunyardClient({ baseUrl: served.door.url, token: "short-lived" }));
    expect((await visit("/v1/agent-runs", { cookie: short })).status).toBe(200);
    await sql("update runyard.tokens set revoked_at = now() where id = 'tok_short-lived'");
    expect((await visit("/v1/agent-runs", { cookie: short })).status).toBe(401);
  });

  test("that ends, ends its open stream", async () => {
    const cookie = await signIn();
    const { id } = await served.client.runs.create({ task: "x", repositoryUrl: "/r" });
    const target = `/v1/agent-runs/${id}/events`;
    const socket = openEvents(served.door.port, target, { cookie, authorization: undefined });
    let text = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    await until(() => text.includes("message.user"));
    const closed = new Promise((resolve) => socket.once("close", resolve));
    await visit("/v1/auth/logout", { cookie, origin: served.door.url }, "POST");
    await closed;
    expect(text).not.toContain("stream.done");
  });
});

describe("the pages", () => {
  test("of the reference are for a signed-in browser", async () => {
    const anonymous = await visit("/docs");
    expect(anonymous.status).toBe(401);
    expect(await anonymous.text()).toContain("runyard open");
    const response = await visit("/docs", { cookie: await signIn() });
    expect(response.status).toBe(200);
    const text = await response.text();
    expect(text).toContain('<script src="/docs/swagger-ui-bundle.js" defer></script>');
    // Nothing from elsewhere, and nothing written into the page.
    expect(text).not.toMatch(/https?:|<style|<script>|\son\w+=/);
    const policy = response.headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
    for (const [, file = ""] of text.matchAll(/(?:src|href)="(\/[^"]+)"/g)) {
      const found = await visit(file);
      expect([file, found.status, found.headers.get("x-content-type-options")]).toEqual([file, 200, "nosniff"]);
      expect(found.headers.get("content-type")).toMatch(file.endsWith(".css") ? /^text\/css/ : /^text\/javascript/);
      expect((await found.text()).length).toBeGreaterThan(100);
    }
    for (const file of ["nothing.js", "package.json", "..%2fpackage.json", "__proto__", "constructor"]) {
      expect([file, (await visit(`/docs/${file}`)).status]).toEqual([file, 404]);
    }
  });

  test("begin at /, which tells programs where things are", async () => {
    const response = await visit("/");
    expect(await response.json()).toMatchObject({ name: "runyard", version: "1.2.3", links: { docs: "/docs", openapi: "/openapi.json" } });
    const html = await visit("/", { accept: "text/html,application/xhtml+xml,*/*;q=0.8" });
    expect([html.status, html.headers.get("location")]).toEqual([303, "/docs"]);
  });
});

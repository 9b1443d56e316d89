// Secrets that the gateway puts into headers, on the whole line: the command line, server, gateway, and real programs in a
// real sandbox, which talk to real servers. The value must come to the host, and be nowhere in the sandbox.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createReadStream, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import path from "node:path";
import type { RunyardClient } from "@runyard/sdk";
import type { Run, RunEvent } from "@runyard/sdk/contract";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openGateway } from "../src/gateway/client.ts";
import { makeAuthority, makeServerCertificate } from "../src/gateway/x509.ts";
import { homeAt } from "../src/home.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { loopbackNames } from "../src/testing/loopback-names.ts";
import { publishedPackages } from "../src/testing/published.ts";
import { type ScriptedModel, startScriptedModel } from "../src/testing/scripted-model.ts";
import { makeRepository, makeTestHome, readLog, type TestHome, type TestServer } from "../src/testing/server.ts";

const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const lacking = ["curl", "git"].find((program) => !existsSync(`/usr/bin/${program}`));
const reason = unavailable ?? (lacking === undefined ? null : `there is no ${lacking} below /usr/bin`);

const CANARY = `cnry/7Xq+Zt9=${randomBytes(6).toString("hex")}`;
const NEEDLES = [CANARY, encodeURIComponent(CANARY), ...[0, 1, 2].map(base64Inside)];
const WORLD = makeAuthority("World", { days: 10 });

/** The middle of its base64, with so many bytes before it. */
function base64Inside(before: number): string {
  return Buffer.from(`${"x".repeat(before)}${CANARY}xx`)
    .toString("base64")
    .slice(4, -8);
}

/** Looks for the canary in all that a sandbox can read of its own: it is told in halves, so that it is not found in the search itself. */
function scan(): string {
  const halves = NEEDLES.map((needle) => `'${needle.slice(0, 7)}' '${needle.slice(7)}'`).join(" ");
  return [
    // No file: a heredoc would be one, and words of a command stand in /proc.
    `n() { printf '%s%s\\n' ${halves}; }`,
    "echo env: $(env | n | cat >/dev/null; env | grep -c -a -F -f <(n))",
    "echo proc: $(cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | grep -c -a -F -f <(n))",
    "echo files: $(grep -r -l -a -F -f <(n) /workspace /home /tmp /var /run /etc /dev/shm 2>/dev/null | wc -l)",
    // The control: what is looked for is found where it is.
    "n | head -1 >/tmp/planted; echo control: $(grep -r -l -a -F -f <(n) /tmp | wc -l); rm /tmp/planted",
    "echo keys: $(grep -r -l -a 'PRIVATE KEY' /run /home /tmp /etc/ssl/certs 2>/dev/null | wc -l)",
    "env | grep -c '^API_TOKEN=' ; true",
  ].join("\n");
}

describe.skipIf(reason !== null || !full)(reason === null ? "secrets in headers" : `secrets in headers cannot be tested: ${reason}`, () => {
  let database: TestDatabase;
  let model: ScriptedModel;
  let home: TestHome;
  let server: TestServer;
  let client: RunyardClient;
  const seen: { host: string; url: string; authorization: string | undefined; key: string | undefined }[] = [];
  const hosts: https.Server[] = [];
  const ports: Record<string, number> = {};
  const serve = async (host: string, answer: (request: IncomingMessage, response: ServerResponse) => void, by = WORLD): Promise<void> => {
    const { certificate: cert, key } = makeServerCertificate(by, host, { days: 5 });
    const listening = https.createServer({ cert, key }, (request, response) => {
      const { host: asked = "", authorization, "x-api-key": apiKey } = request.headers;
      seen.push({ host: asked.split(":")[0]!, url: request.url!, authorization, key: apiKey as string | undefined });
      answer(request, response);
    });
    await once(listening.listen(0, "127.0.0.1"), "listening");
    hosts.push(listening);
    ports[host] = (listening.address() as AddressInfo).port;
  };
  let served = "";
  const files = (request: IncomingMessage, response: ServerResponse): void => {
    const file = path.join(served, request.url!.split("?")[0]!);
    if (request.headers.authorization !== `Bearer ${CANARY}`) return void response.writeHead(401).end();
    if (!existsSync(file) || statSync(file).isDirectory()) return void response.writeHead(404).end();
    createReadStream(file).pipe(response);
  };

  beforeAll(async () => {
    const echo = (request: IncomingMessage, response: ServerResponse): void =>
      void request.resume().on("end", () => response.end(`you said ${JSON.stringify(request.headers)}\n`));
    await serve("api.example", (request, response) => {
      if (request.url === "/away") response.writeHead(302, { location: `https://other.example:${ports["other.example"]}/landed` }).end();
      else echo(request, response);
    });
    await serve("other.example", echo);
    await serve("git.example", files);
    await serve("bad.example", echo, makeAuthority("Nobody", { days: 5 }));
    database = await createTestDatabase();
    model = await startScriptedModel([]);
    home = makeTestHome({
      DATABASE_URL: database.connectionString,
      OPENAI_BASE_URL: model.url,
      OPENAI_API_KEY: "sk-decoy-provider-key",
      RUNYARD_MODEL: "scripted-1",
      RUNYARD_EGRESS_NETWORKS: "127.0.0.0/8",
    });
    home.env["NODE_EXTRA_CA_CERTS"] = path.join(home.root, "world.pem");
    writeFileSync(home.env["NODE_EXTRA_CA_CERTS"], WORLD.certificate);
    const dist = path.join(await publishedPackages(), "runyard/dist");
    const program = path.join(
      dist,
      readdirSync(dist, { recursive: true, encoding: "utf8" }).find((name) => path.basename(name) === "gateway.mjs")!,
    );
    // The server finds a gateway of its own program, to which the names of the hosts are known.
    const gateway = await openGateway({ home: homeAt(home.env["RUNYARD_HOME"]!), program, execArgv: loopbackNames(home.root) });
    gateway.close();
    server = await home.up();
    client = server.client;
  }, 120_000);
  afterAll(async () => {
    await home?.close();
    await model?.close();
    await database?.drop();
    for (const one of hosts) {
      one.closeAllConnections();
      one.close();
    }
  });

  const url = (host: string, rest = "/"): string => `https://${host}:${ports[host]}${rest}`;
  const store = (name: string, host: string, header = "authorization: Bearer {value}"): Promise<unknown> =>
    client.secrets.set({ name, value: CANARY, host: `${host}:${ports[host]}`, header });
  let serial = 0;
  const create = async (request: object): Promise<string> => {
    seen.splice(0);
    serial += 1;
    const repositoryUrl = makeRepository(home.root, { "README.md": "# x\n" }, `repository-${serial}`);
    return (await client.runs.create({ task: "Do it", repositoryUrl, ...request })).id;
  };
  const ended = async (id: string): Promise<{ run: Run; log: RunEvent[]; outputs: string[] }> => {
    const run = await client.runs.waitForEnd(id);
    const log = await readLog(client, id);
    return { run, log, outputs: log.flatMap((event) => (event.type === "tool.finished" ? [event.data.output ?? ""] : [])) };
  };
  const bash = (script: string): string => `bash -c '${script.replaceAll("'", `'\\''`)}'`;

  /** Where the canary is found on the host, but for what the database and the gateway's memory hold encrypted or for themselves. */
  async function findings(runId: string): Promise<string[]> {
    const isIn = (text: string): boolean => NEEDLES.some((needle) => text.includes(needle));
    const found: string[] = [];
    for (const entry of readdirSync(home.env["RUNYARD_HOME"]!, { recursive: true, withFileTypes: true })) {
      const file = path.join(entry.parentPath, entry.name);
      if (entry.isFile() && isIn(readFileSync(file, "latin1"))) found.push(file);
    }
    const db = new pg.Client({ connectionString: home.env["DATABASE_URL"] });
    await db.connect();
    const tables = await db.query<{ name: string }>("select tablename as name from pg_tables where schemaname = 'runyard'");
    for (const { name } of tables.rows) {
      const { rows } = await db.query<{ row: string }>(`select row_to_json(t)::text as row from runyard.${name} t`);
      if (rows.some(({ row }) => isIn(row))) found.push(`table ${name}`);
    }
    await db.end();
    for (const words of [
      ["logs", runId, "--verbose"],
      ["events", runId],
      ["show", runId, "--json"],
      ["secrets", "--json"],
    ])
      if (isIn((await home.cli(words)).stdout)) found.push(words.join(" "));
    return found;
  }

  test("programs in a sandbox get the header put in, and never have the secret", async () => {
    const set = [
      "secrets",
      "set",
      "API_TOKEN",
      "--host",
      `API.example:${ports["api.example"]}`,
      "--header",
      "Authorization:  Bearer {value}",
    ];
    expect(await home.cli(set, { input: CANARY })).toMatchObject({
      code: 0,
      stderr: expect.stringContaining(`Stored API_TOKEN, for the header authorization of api.example:${ports["api.example"]}.`) as string,
    });
    expect((await home.cli(["secrets"])).stdout).toMatch(/API_TOKEN {2}organization, for the header authorization of api\.example:\d+/);
    model.play([
      // What it sends itself under that name is replaced, and what it is told again is hidden.
      { run: `curl -sS -H 'Authorization: Bearer mine' -H 'X-Mine: kept' ${url("api.example", "/curl")}` },
      { run: `curl -sS -L ${url("api.example", "/away")}` },
      { run: `curl -sS -o /dev/null -w '%{http_code} %{ssl_verify_result}' ${url("other.example", "/plain")} || echo failed` },
      { run: `curl -sS http://api.example:${ports["api.example"]}/clear` },
      { run: `curl -sS -H 'Host: other.example' -w ' %{http_code}' ${url("api.example", "/tricked")}` },
      { run: bash(scan()) },
      { run: "cat /home/*/.runyard/authority/* /proc/1/root/authority/authority.pem 2>&1 | grep -c PRIVATE; ls -l /run/runyard" },
      { say: "Done." },
    ]);
    const id = await create({ secrets: ["API_TOKEN"], settings: { egress: [`other.example:${ports["other.example"]}`] } });
    const { run, log, outputs } = await ended(id);
    expect(run).toMatchObject({ status: "completed", secrets: ["API_TOKEN"], environment: {} });
    expect(run.sandbox?.egress).toEqual([`other.example:${ports["other.example"]}`, `api.example:${ports["api.example"]}`]);
    expect(outputs[0]).toContain('"x-mine":"kept"');
    expect(outputs[0]).toMatch(/"authorization":"Bearer \*+"/);
    // Neither the other host nor the way there got it; a program that does not trust the other's certificate is told so by itself.
    expect(outputs[1]).toMatch(/certificate/);
    expect(outputs[2]).toMatch(/certificate/);
    expect(outputs[3]).toContain("goes by https only: ask for https://api.example");
    expect(outputs[4]).toMatch(/must name the host of the tunnel[^]* 421$/);
    expect(outputs[5]).toBe("env: 0\nproc: 0\nfiles: 0\ncontrol: 1\nkeys: 0\n0\n");
    expect(outputs[6]).toMatch(/^0\n[^]*ca-bundle\.pem/);
    expect(seen).toMatchObject([
      { host: "api.example", url: "/curl", authorization: `Bearer ${CANARY}` },
      { host: "api.example", url: "/away", authorization: `Bearer ${CANARY}` },
    ]);
    const uses = log.flatMap((event) => (event.type === "secret.used" ? [event.data] : []));
    const host = `api.example:${ports["api.example"]}`;
    expect(new Set(uses.map((use) => `${use.secret} ${use.host}`))).toEqual(new Set([`API_TOKEN ${host}`]));
    expect(uses.reduce((sum, { requests }) => sum + requests, 0)).toBe(2);
    expect((await home.cli(["logs", id])).stdout).toMatch(/put the secret API_TOKEN into (a request|2 requests) to api\.example:\d+/);
    expect(await findings(id)).toEqual([]);
    // The key of the authority is for this user alone.
    const authority = path.join(home.env["RUNYARD_HOME"]!, "authority");
    expect([statSync(authority).mode & 0o777, statSync(path.join(authority, "authority.pem")).mode & 0o777]).toEqual([0o700, 0o600]);
  }, 120_000);

  test("git and Node.js go by it, too, and another server takes it over in the middle", async () => {
    await store("CLONE_TOKEN", "git.example");
    await store("API_KEY", "api.example", "X-Api-Key: {value}");
    served = path.join(home.root, "served");
    mkdirSync(served);
    const source = makeRepository(home.root, { "a.txt": "of the other repository\n" }, "source");
    execFileSync("git", ["clone", "--quiet", "--bare", source, path.join(served, "repo.git")]);
    execFileSync("git", ["-C", path.join(served, "repo.git"), "update-server-info"]);
    const node = `
      const http = require("node:http"), https = require("node:https");
      const { hostname, port, username, password } = new URL(process.env.HTTPS_PROXY);
      const headers = { "proxy-authorization": "Basic " + Buffer.from(username + ":" + password).toString("base64") };
      http.request({ host: hostname, port, method: "CONNECT", path: "api.example:${ports["api.example"]}", headers }).on("connect", (_, socket) => {
        https.get({ socket, servername: "api.example", host: "api.example", port: ${ports["api.example"]}, path: "/node", agent: false }, (answer) => answer.pipe(process.stdout));
      }).end();`;
    let goOn = (): void => undefined;
    model.play([
      { run: `git clone --quiet ${url("git.example", "/repo.git")} /tmp/cloned && cat /tmp/cloned/a.txt` },
      { run: bash(`node -e '${node.replaceAll("\n", " ")}'`), until: new Promise<void>((resolve) => (goOn = resolve)) },
      { say: "Done." },
    ]);
    const id = await create({ secrets: ["CLONE_TOKEN", "API_KEY"] });
    for await (const event of client.runs.events(id)) if (event.type === "tool.finished") break;
    await server.kill();
    server = await home.up();
    client = server.client;
    goOn();
    const { run, log, outputs } = await ended(id);
    expect(run).toMatchObject({ status: "completed" });
    expect(outputs[0]).toBe("of the other repository\n");
    expect(outputs[1]).toMatch(/"x-api-key":"\*+"/);
    expect(seen.find((one) => one.url === "/node")).toMatchObject({ key: CANARY });
    const used = log.flatMap((event) => (event.type === "secret.used" ? [event.data.secret] : []));
    expect(new Set(used)).toEqual(new Set(["CLONE_TOKEN", "API_KEY"]));
    expect(await findings(id)).toEqual([]);
  }, 120_000);

  test("a bad certificate, another run, verifying, and no isolation", async () => {
    await store("BAD", "bad.example");
    model.play([
      { run: `curl -sS -w ' %{http_code}' ${url("bad.example")}` },
      { run: "env | grep -c -E 'CA_|CERT|CAINFO'" },
      { say: "Done." },
    ]);
    const verify = [{ run: "env | grep -c -E 'BAD|CERT' || true", kind: "test" as const }];
    const bad = await ended(await create({ secrets: ["BAD"], verify }));
    expect(bad.outputs[0]).toMatch(/^bad\.example:\d+ could not be reached: .*certificate.*\n 502$/);
    expect(bad.log.find((event) => event.type === "verify.finished")).toMatchObject({ data: { output: "0\n" } });
    expect(bad.log.filter((event) => event.type === "secret.used")).toEqual([]);
    // A replay reaches nobody, and gets nothing.
    const replayed = await ended((await client.runs.replay(bad.run.id)).id);
    expect(replayed.outputs[0]).toMatch(/CONNECT tunnel failed, response 403/);
    // A run without such a secret trusts nobody more than the system does, and has no way to the host.
    model.play([{ run: `env | grep -c -E 'CA_|CERT|CAINFO'; curl -sS -m 5 ${url("api.example")} 2>&1` }, { say: "Done." }]);
    const other = await ended(await create({}));
    expect(other.outputs[0]).toMatch(/^0\n.*(resolve|connect)/i);
    expect(seen).toEqual([]);
    await expect(create({ secrets: ["BAD"], settings: { sandboxDriver: "process" } })).rejects.toMatchObject({
      code: "sandbox_not_available",
      message: expect.stringContaining("The secret BAD is for a header of bad.example") as string,
    });
  }, 120_000);
});

// Hosts that a run may reach, on the whole line: the command line, server, gateway, sandbox, and programs in it.
import type { Run } from "@runyard/sdk/contract";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { useLine } from "../src/testing/line.ts";
import { makeRepository, readLog } from "../src/testing/server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;

/** Asks a proxy for a tunnel to each host, as package managers do, and says what it answers. */
const ASK = `
const http = require("node:http");
const { hostname, port, username, password } = new URL(process.env.HTTPS_PROXY ?? "http://none");
const headers = { "proxy-authorization": "Basic " + Buffer.from(username + ":" + password).toString("base64") };
for (const path of process.argv.slice(1))
  http.request({ host: hostname, port, method: "CONNECT", path, headers, agent: false })
    .on("connect", (answer, socket) => { console.log(path, "answered", answer.statusCode); socket.destroy(); })
    .on("error", (error) => console.log(path, "failed", error.code)).end();
`;
const ask = (...targets: string[]): string => `node -e '${ASK}' ${targets.join(" ")}`;

describe.skipIf(unavailable !== null)(unavailable === null ? "egress" : `egress cannot be tested: ${unavailable}`, () => {
  const line = useLine();
  const toModel = (): string => JSON.stringify(line.model.requests.at(-1)?.messages);
  const run = async (name: string, ...words: string[]): Promise<Run> => {
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, name);
    const done = await line.home.cli(["run", "Do it", "--repo", repository, "--json", ...words]);
    expect([done.code, done.stderr]).toEqual([0, expect.anything()]);
    return JSON.parse(done.stdout) as Run;
  };

  test("what is allowed is let through, and what is not is refused and written down", async () => {
    // Names under .invalid are nobody's (RFC 2606), so that being let through is to be told that there is no such host.
    await line.serve([{ run: ask("let.through.invalid:443", "other.invalid:443", "let.through.invalid:22") }, { say: "Done." }]);
    const ended = await run("allowed", "--egress", "*.through.invalid,npm");
    const egress = ["*.through.invalid", "npm"];
    expect(ended).toMatchObject({ status: "completed", settings: { egress }, sandbox: { egress } });
    const said = toModel();
    for (const answer of ["let.through.invalid:443 answered 502", "other.invalid:443 answered 403", "let.through.invalid:22 answered 403"])
      expect(said).toContain(answer);
    const denied = (await readLog(line.client, ended.id)).flatMap((event) => (event.type === "egress.denied" ? [event.data] : []));
    const reason = "not allowed to this run";
    expect(denied.toSorted((a, b) => a.target.localeCompare(b.target))).toEqual([
      { target: "let.through.invalid:22", reason },
      { target: "other.invalid:443", reason },
    ]);
    expect((await line.home.cli(["logs", ended.id])).stdout).toContain("refused to reach other.invalid:443: not allowed to this run");
    expect((await line.home.cli(["show", ended.id])).stdout).toMatch(/egress +\*\.through\.invalid, npm/);
  }, 60_000);

  test("without it there is no proxy, and no other way out either", async () => {
    await line.serve([
      { run: `${ask("example.com:443")}; env | grep -ci proxy; getent hosts example.com || echo unknown` },
      { say: "Done." },
    ]);
    const ended = await run("none");
    expect(ended.settings.egress).toEqual([]);
    expect(toModel()).toMatch(/example\.com:443 failed \w+\\n0\\nunknown/);
  }, 60_000);

  test("what allows nothing that exists is refused with what it may be", async () => {
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "wrong");
    const wrong = await line.home.cli(["run", "Do it", "--repo", repository, "--egress", "127.0.0.1"]);
    expect(wrong).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/must be a host like api\.example\.com or \*\.example\.com/) as unknown,
    });
  });
});

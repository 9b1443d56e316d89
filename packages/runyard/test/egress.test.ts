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
    const shown = (await line.home.cli(["show", ended.id])).stdout;
    expect(shown).toMatch(/egress +\*\.through\.invalid \(run\), npm \(run\)/);
    expect(shown).toMatch(/refused +\S+:\d+ \(not allowed to this run\), \S+:\d+/);
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

  test("a repository's and the organization's hosts are the run's too, and what the organization forbids is refused", async () => {
    await line.serve([{ run: ask("of.repository.invalid:443", "of.all.invalid:443") }, { say: "Done." }]);
    const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "bounded");
    const cli = async (...words: string[]): Promise<string> => {
      const done = await line.home.cli(words);
      expect([words, done.code, done.stderr]).toEqual([words, 0, expect.anything()]);
      return done.stdout;
    };
    expect(await cli("repositories", repository, "--egress", "of.repository.invalid")).toContain(
      "egress    of.repository.invalid, for its runs",
    );
    const organization = [
      "--egress",
      "of.all.invalid",
      "--egress-allowed",
      "*.repository.invalid,of.all.invalid",
      "--isolation-floor",
      "strict",
    ];
    expect(await cli("organization", ...organization)).toMatch(
      /floor +strict: [^]*egress +of\.all\.invalid[^]*allowed +\*\.repository\.invalid, of\.all\.invalid, and/,
    );
    expect(JSON.parse(await cli("organization", "--json"))).toMatchObject({
      egressAllowed: ["*.repository.invalid", "of.all.invalid"],
      isolationFloor: "strict",
    });
    const words = ["run", "Do it", "--repo", repository, "--json"];
    const ended = JSON.parse(await cli(...words)) as Run;
    expect(ended).toMatchObject({
      status: "completed",
      settings: { egressFrom: { "of.all.invalid": ["organization"], "of.repository.invalid": ["repository"] }, isolationFloor: "strict" },
      sandbox: { egress: ["of.all.invalid", "of.repository.invalid"], floor: "strict" },
      egressDenied: [],
    });
    for (const host of ["of.repository.invalid", "of.all.invalid"]) expect(toModel()).toContain(`${host}:443 answered 502`);
    expect(await cli("show", ended.id)).toMatch(/egress +of\.all\.invalid \(organization\), of\.repository\.invalid \(repository\)/);
    expect(await line.home.cli([...words, "--egress", "npm"])).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/reach\s\*\.npmjs\.org\s\(npm,\sof\sthe\srun\)/) as unknown,
    });
    expect(await line.home.cli([...words, "--sandbox", "process"])).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/floor\sstrict\s\(of\sthe\sorganization\)/) as unknown,
    });
    await cli("organization", "--no-egress", "--no-egress-allowed", "--no-isolation-floor");
    expect(JSON.parse(await cli("organization", "--json"))).toMatchObject({ egress: [], egressAllowed: null, isolationFloor: null });
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

// Commands that are told something wrong, and commands whose surroundings go away: each ends with a code and a
// sentence. The rows stand in docs/acceptance.md.
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, get, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runAtTerminal } from "../../src/cli/testing/terminal.ts";
import { sandboxDriver } from "../../src/sandbox/drivers.ts";
import { createTestDatabase, type TestDatabase } from "../../src/testing/database.ts";
import { publishedProgram } from "../../src/testing/published.ts";
import { makeRepository, makeTestHome, type TestHome } from "../../src/testing/server.ts";
import { removeHome, run, serve, type Serving } from "./place.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;

const isShort = process.env["RUNYARD_TEST_FULL"] === undefined;

describe.skipIf(process.platform !== "linux" || isShort)(isShort ? "a command (npm run test:full)" : "a command", () => {
  let database: TestDatabase;
  let home: TestHome;
  let server: Serving;
  let repository: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    home = makeTestHome({ DATABASE_URL: database.connectionString });
    home.env["DOCKER_HOST"] = `unix://${home.root}/none.sock`;
    repository = makeRepository(home.root, { "README.md": "# x\n" });
    server = await serve(home, ["--simulate"]);
  });
  afterAll(async () => {
    await server.leave();
    await removeHome(home);
    await database.drop();
  });

  const failure = (code: number, message: string, advice?: string) => ({
    code,
    stdout: "",
    stderr: `error: ${message}\n${advice === undefined ? "" : `  ${advice}\n`}`,
  });

  describe("at another address", () => {
    const elsewhere = (url: string, words: readonly string[] = ["status"]) =>
      run(home, words, { env: { RUNYARD_URL: url, RUNYARD_TOKEN: "decoy" } });

    test.each([
      ["nonsense", 'baseUrl is not a URL: "nonsense"'],
      ["ftp://127.0.0.1", 'baseUrl must begin with http:// or https://: "ftp://127.0.0.1"'],
    ])("that is %s", async (url, reason) => {
      expect(await elsewhere(url)).toEqual(failure(2, `RUNYARD_URL cannot be used: ${reason}`, "It looks like http://127.0.0.1:4600."));
    });

    test.each([
      [200, "text/html", 1],
      [404, "text/html", 1],
      [502, "text/html", 1],
      [401, "text/html", 4],
    ])("that answers %i with %s", async (status, type, code) => {
      const other = await answering(status, type);
      const { port } = other.address() as AddressInfo;
      const url = `http://127.0.0.1:${port}`;
      const refused = await elsewhere(url);
      other.close();
      expect(refused).toEqual(
        failure(
          code,
          `${url} answered ${status} with ${type}, which is not an answer of Runyard: another program or a proxy may stand at this address.`,
        ),
      );
    });
  });

  test("up, with an OPENAI_BASE_URL that is none", async () => {
    const env = { OPENAI_BASE_URL: "nonsense" };
    const message = 'OPENAI_BASE_URL must be an http or https URL, for example http://127.0.0.1:11434/v1: got "nonsense"';
    expect(await run(home, ["up", "--port", "0"], { env })).toEqual(
      failure(2, message, "Correct it, or leave it out to start without a model."),
    );
  });

  test("up, with a providers.json that is none, and the doctor", async () => {
    const root = path.join(home.root, "other-home");
    mkdirSync(root);
    writeFileSync(path.join(root, "providers.json"), "sk-decoy");
    const env = { RUNYARD_HOME: root };
    const message = `${path.join(root, "providers.json")} is not JSON: it must be a list of providers`;
    expect(await run(home, ["up", "--port", "0"], { env })).toEqual(
      failure(2, message, "Correct it, or leave it out to start without a model."),
    );
    const { stdout } = await run(home, ["doctor"], { env });
    expect(stdout.replaceAll(/\s+/g, " ")).toContain("the providers are not usable");
    expect(stdout).not.toContain("decoy");
  });

  test("up, with an image that is none, by the flag and the environment", async () => {
    const refused = failure(
      2,
      'The image must name a container image, for example node:22: got "a b"',
      "Set it with --docker-image or RUNYARD_DOCKER_IMAGE.",
    );
    expect(await run(home, ["up", "--port", "0", "--docker-image", "a b"])).toEqual(refused);
    expect(await run(home, ["up", "--port", "0"], { env: { RUNYARD_DOCKER_IMAGE: "a b" } })).toEqual(refused);
  });

  test("that wants a container where there is none", async () => {
    const words = ["run", "x", "--repo", repository, "--image", "node:22"];
    const forOthers =
      "An image is for the driver docker, and this run has process: ask for docker (--sandbox docker), or leave the image out.";
    expect(await run(home, [...words, "--sandbox", "process"])).toEqual(failure(3, forOthers));
    const refused = await run(home, [...words, "--sandbox", "docker"]);
    expect(refused).toMatchObject({ code: 3 });
    expect(refused.stderr.replaceAll(/\s+/g, " ")).toContain(
      `No container engine answers at ${home.root}/none.sock: it is not running. Install and start Docker or Podman, set DOCKER_HOST to its socket, or choose the driver \`bwrap\`.`,
    );
    const { stdout } = await run(home, ["doctor"], { env: { DOCKER_HOST: `unix://${home.root}/none.sock` } });
    expect(stdout).toMatch(/containers +no engine for --sandbox docker/);
  });

  test("with a wrong token, and the doctor", async () => {
    const env = { RUNYARD_TOKEN: "decoy" };
    const refused = failure(
      4,
      "This token is not valid (any more).",
      "Set RUNYARD_TOKEN to a token of that server; `runyard token` says where this machine's is.",
    );
    expect(await run(home, ["runs"], { env })).toEqual(refused);
    expect(await run(home, ["run", "x", "--repo", repository], { env })).toEqual(refused);
    expect((await run(home, ["doctor"], { env })).stdout).toContain("This token is not valid (any more).");
    // The right one is taken.
    expect(await run(home, ["runs"])).toMatchObject({ code: 0 });
  });

  describe("that gives a task", () => {
    const give = (input: string | Buffer) => run(home, ["run", "-", "--detach", "--repo", repository], { input });

    test.each(["", " \n\t "])("of nothing: %j", async (input) => {
      const refused = { code: 3, stdout: "", stderr: "error: task: must say what to do\n" };
      expect(await give(input)).toEqual(refused);
      expect(await run(home, ["run", input, "--repo", repository])).toEqual(refused);
    });

    test.skipIf(unavailable !== null)(
      "of a million characters works, of more is refused",
      async () => {
        expect(await give("a".repeat(1_048_576))).toEqual(
          failure(
            2,
            "The task has 1,048,576 characters, and the most is 1,000,000.",
            "Put what is long into a file of the repository, and name that file in the task.",
          ),
        );
        const { code, stdout } = await give("a".repeat(1_000_000));
        expect(code).toBe(0);
        expect((await server.client.runs.waitForEnd(stdout.trim())).status).toBe("completed");
      },
      60_000,
    );

    test("with NUL is refused, by the API too", async () => {
      expect(await give("a\0b")).toEqual(failure(3, "task: must not contain NUL"));
      await expect(server.client.runs.create({ task: "a\0b", repositoryUrl: repository })).rejects.toMatchObject({
        status: 422,
        code: "invalid_request",
        errors: [{ path: "task", message: "must not contain NUL" }],
      });
    });

    test.skipIf(unavailable !== null)(
      "with half a character takes it as the sign for one that cannot be shown",
      async () => {
        const { code, stdout } = await give(Buffer.from([0x61, 0xff, 0xed, 0xa0, 0x80, 0x62]));
        expect(code).toBe(0);
        const ended = await server.client.runs.waitForEnd(stdout.trim());
        expect(ended).toMatchObject({ status: "completed", task: "a\ufffd\ufffd\ufffd\ufffdb" });
        // By the API it can only be a fault of the program that calls.
        await expect(server.client.runs.create({ task: "a\ud800b", repositoryUrl: repository })).rejects.toMatchObject({
          status: 422,
          code: "invalid_request",
          message: "task: must not contain NUL characters or broken Unicode",
        });
      },
      60_000,
    );
  });

  test.each([["runs"], ["events", "last"], ["show", "last"], ["status"], ["doctor"]])(
    "whose reader is gone (%s) ends without a word",
    async (...words) => {
      const child = spawn(process.execPath, [await publishedProgram(), ...words.filter(Boolean)], {
        env: home.env,
        stdio: ["ignore", "pipe", "pipe"],
      });
      child.stdout.destroy();
      let stderr = "";
      child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
      const code = await new Promise((resolve) => child.once("close", resolve));
      expect(stderr).toBe("");
      // The doctor's own answer counts where there was nobody to write to yet.
      expect([0, words[0] === "doctor" ? 1 : 0]).toContain(code);
    },
  );

  test("with NO_COLOR writes none, at a terminal too; without it, it does", async () => {
    const { NO_COLOR, ...plain } = home.env;
    const at = (env: NodeJS.ProcessEnv) => runAtTerminal(["status"], { env, columns: 100 });
    expect((await at({ ...plain, FORCE_COLOR: "", TERM: "xterm" })).output).toContain("\u001b[");
    expect(NO_COLOR).toBe("1");
    const { stdout } = await run(home, ["status"], { env: { NO_COLOR: "1", FORCE_COLOR: "1" } });
    expect(stdout).not.toContain("\u001b[");
    expect((await run(home, ["status"], { env: { NO_COLOR: "", FORCE_COLOR: "1" } })).stdout).toContain("\u001b[");
  });

  test("`up` and `doctor` refuse a directory of programs that must not be shown", async () => {
    const env = { RUNYARD_TOOLCHAINS: home.env["HOME"] ?? "/", HOME: home.env["HOME"] ?? "/" };
    const problem = `RUNYARD_TOOLCHAINS: ${JSON.stringify(env.HOME)} cannot be shown in sandboxes: the home of this user is in it. Name the directory of one installation.`;
    const refused = await run(home, ["up", "--port", "0"], { env });
    expect(refused).toEqual({
      code: 2,
      stdout: "",
      stderr: `error: ${problem}\n  Correct it, or leave it out: toolchains in the usual places are found by PATH.\n`,
    });
    const { findings } = JSON.parse((await run(home, ["doctor", "--json"], { env })).stdout) as { findings: { name: string }[] };
    expect(findings.find(({ name }) => name === "RUNYARD_TOOLCHAINS")).toMatchObject({ state: "problem", advice: problem });
  });

  test("`up` takes the names of a proxy, and refuses what is no name", async () => {
    const refused = await run(home, ["up", "--port", "0"], { env: { RUNYARD_ALLOWED_HOSTS: "ok.example, https://no.example" } });
    expect(refused).toEqual({
      code: 2,
      stdout: "",
      stderr:
        'error: RUNYARD_ALLOWED_HOSTS must be names like runyard.example.com or build-1:4600, with commas between: got "https://no.example"\n  Correct it, or leave it out.\n',
    });
    const own = makeTestHome({ DATABASE_URL: database.connectionString });
    const behind = await serve(own, [], { env: { RUNYARD_ALLOWED_HOSTS: "Runyard.Example" } });
    const { port } = new URL(behind.url);
    const ask = (host: string): Promise<number | undefined> =>
      new Promise((resolve) => get({ port, path: "/livez", headers: { host } }, (answer) => resolve(answer.resume().statusCode)));
    expect([await ask("runyard.example"), await ask("other.example")]).toEqual([200, 403]);
    await behind.leave();
    await removeHome(own);
  });

  test.each([
    ["published", publishedProgram],
    ["of a clone", () => fileURLToPath(new URL("../../bin/runyard.mjs", import.meta.url))],
  ])("in a folder that was removed (%s)", async (_, program) => {
    const folder = path.join(home.root, "removed");
    mkdirSync(folder);
    const words = ["-c", `cd "$1" && rmdir "$1" && exec "$2" "$3" status`, "sh", folder, process.execPath, await program()];
    const { status, stdout, stderr } = spawnSync("/bin/sh", words, { env: home.env, encoding: "utf8", timeout: 30_000 });
    expect({ status, stdout, stderr }).toEqual({
      status: 1,
      stdout: "",
      stderr: "error: The folder that you stand in is not there any more.\n  Go to another one (cd), and try again.\n",
    });
  });
});

async function answering(status: number, type: string): Promise<Server> {
  const server = createServer((_, response) => {
    response.writeHead(status, { "content-type": type });
    response.end("<!doctype html><title>Something else</title>");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

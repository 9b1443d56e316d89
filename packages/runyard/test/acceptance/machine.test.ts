// `runyard up`, `run` and `doctor` on a machine that lacks something or is in the way: ports, a second start,
// another PostgreSQL's data, sandboxes, limits, git, the clock. The rows stand in docs/acceptance.md.
import { spawnSync } from "node:child_process";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { chmodSync, chownSync, lutimesSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sandboxDriver } from "../../src/sandbox/drivers.ts";
import { createTestDatabase, type TestDatabase } from "../../src/testing/database.ts";
import { makeRepository, makeTestHome, readLog, type TestHome } from "../../src/testing/server.ts";
import { expectServes, machineWith, placeOf, refusedStart, removeHome, run, serve, wrongClock } from "./place.ts";

const full = Boolean(process.env["RUNYARD_TEST_FULL"]);

const BOOTSTRAP = fileURLToPath(new URL("../../../../scripts/bootstrap.mjs", import.meta.url));
const isRoot = process.getuid?.() === 0;
const NOBODY = 65_534;
const DAY_MS = 86_400_000;
const unavailable = (await sandboxDriver("bwrap").probe()).reason;

const isShort = process.env["RUNYARD_TEST_FULL"] === undefined;

describe.skipIf(process.platform !== "linux" || isShort)(isShort ? "a machine (npm run test:full)" : "a machine", () => {
  let database: TestDatabase;
  let home: TestHome;
  let root: string;

  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.drop());
  beforeEach(() => {
    home = makeTestHome({ DATABASE_URL: database.connectionString });
    root = path.join(home.root, "home");
  });
  afterEach(() => removeHome(home));

  const failure = (code: number, message: string, advice: string) => ({ code, stdout: "", stderr: `error: ${message}\n  ${advice}\n` });

  describe("a port", () => {
    const taken = (port: string | number) =>
      failure(1, `Port ${port} on 127.0.0.1 is in use by another program.`, "Choose another one with --port, or stop that program.");

    test("that another program has", async () => {
      const other = createServer();
      await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
      const { port } = other.address() as AddressInfo;
      expect(await refusedStart(home, ["--port", String(port)])).toEqual(taken(port));
      await new Promise((resolve) => other.close(resolve));
      await expectServes(home, ["--port", String(port)]);
    }, 60_000);

    test("that the Runyard of another home has; that one goes on", async () => {
      const other = makeTestHome({ DATABASE_URL: database.connectionString });
      const server = await serve(other);
      const { port } = new URL(server.url);
      expect(await refusedStart(home, ["--port", port])).toEqual(taken(port));
      expect((await server.client.status()).version).not.toBe("");
      await server.leave();
      await removeHome(other);
    }, 60_000);

    test.each([
      ["x", 'The port must be a number from 0 to 65535: got "x"'],
      ["", 'The port must be a number from 0 to 65535: got ""'],
      ["0x50", 'The port must be a number from 0 to 65535: got "0x50"'],
      ["65536", 'The port must be a number from 0 to 65535: got "65536"'],
      ["6000", "Browsers never talk to port 6000, which belongs to another protocol"],
    ])("that cannot be: %j", async (port, message) => {
      expect(await refusedStart(home, ["--port", port])).toEqual(failure(2, message, "Set it with --port or RUNYARD_PORT."));
      if (port === "6000") {
        // What the list of such ports is for: nobody would get an answer.
        const cause = await fetch("http://127.0.0.1:6000").catch((error: unknown) => (error as Error).cause);
        expect(String(cause)).toContain("bad port");
      }
    });

    const mayTakeAny = isRoot ? spawnSync("setpriv", ["--version"]).status !== 0 : false;
    const lowest = Number(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8"));
    test.skipIf(mayTakeAny || lowest <= 80)(
      "that needs rights which the user lacks",
      async () => {
        chmodSync(home.root, 0o755);
        if (isRoot) {
          mkdirSync(root);
          chownSync(root, NOBODY, NOBODY);
        }
        const before = isRoot ? ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--no-new-privs"] : [];
        const env = { DATABASE_URL: "", HOME: home.root };
        expect(await refusedStart(home, ["--port", "80"], { before, env })).toEqual(
          failure(1, "This user may not listen on port 80.", "Choose one from 1024 on."),
        );
      },
      60_000,
    );
  });

  test.skipIf(!full)(
    "several starts at once in one home: one serves, the others say so; another major version's data is left alone (in the full tests)",
    async () => {
      const env = { DATABASE_URL: "" };
      for (let round = 0; round < 3; round += 1) {
        const starts = [0, 1].map(() =>
          serve(home, [], { env }).then(
            (server) => ({ server, said: "" }),
            (error: unknown) => ({ server: null, said: String(error) }),
          ),
        );
        const ends = await Promise.all(starts);
        const [winner] = ends.flatMap(({ server }) => server ?? []);
        expect(ends.filter(({ server }) => server !== null)).toHaveLength(1);
        const loser = ends.find(({ server }) => server === null);
        expect(loser?.said).toContain(
          `error: Runyard is already running for ${root} at ${winner?.url} (pid ${winner?.pid}).\n  Use it, stop it with \`runyard down\`, or set RUNYARD_HOME to another place.\n`,
        );
        expect((await winner?.client.status())?.database).toBe("embedded");
        await winner?.leave();
      }
      const data = path.join(root, "postgres", "data");
      renameSync(data, `${data}-ours`);
      mkdirSync(data);
      writeFileSync(path.join(data, "PG_VERSION"), "13\n");
      const message = `The database in ${data} was made by PostgreSQL 13, and this Runyard brings PostgreSQL 18.`;
      const advice =
        "Use the Runyard that made it, or serve that directory with PostgreSQL 13 and set DATABASE_URL, or move it away to start with an empty database.";
      expect(await refusedStart(home, [], { env })).toEqual(failure(1, message, advice));
      expect(readdirSync(data)).toEqual(["PG_VERSION"]);
      const doctor = await run(home, ["doctor"], { env });
      expect(doctor.code).toBe(1);
      expect(doctor.stdout).toContain(message);
      renameSync(data, `${data}-13`);
      renameSync(`${data}-ours`, data);
      await expectServes(home, [], { env });
    },
    120_000,
  );

  describe.skipIf(unavailable !== null)(unavailable === null ? "where sandboxes" : `where sandboxes (skipped: ${unavailable})`, () => {
    /** A machine on which bwrap is this script. */
    const withBwrap = (script: string): string[] => {
      const fake = path.join(home.root, "bwrap");
      writeFileSync(fake, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      return machineWith([fake, placeOf("bwrap")]);
    };
    const INSTEAD = "or choose the driver `process`, which does not isolate.";

    test.each([
      [
        "cannot be started, as under Ubuntu's AppArmor",
        () => withBwrap("echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1"),
        // What follows depends on the kernel's switches: src/sandbox/bwrap-probe.test.ts has them all.
        /^A sandbox could not be started \(bwrap: setting up uid map: Permission denied\)\. .+, or choose the driver `process`, which does not isolate\.$/,
      ],
      [
        "lack bwrap",
        () => machineWith(["/dev/null", placeOf("bwrap")]),
        `bubblewrap is not installed: install the package \`bubblewrap\`, ${INSTEAD}`,
      ],
    ])(
      "%s: up serves and warns, a run is refused, the doctor says what to do",
      async (_, machine, reason) => {
        const before = machine();
        const repository = makeRepository(home.root, { "README.md": "# x\n" });
        const server = await serve(home, ["--simulate"], { before });
        const status = await server.client.status();
        const refused: unknown = await server.client.runs.create({ task: "x", repositoryUrl: repository }).catch((error: unknown) => error);
        const byCommand = await run(home, ["run", "x", "--repo", repository]);
        const own = await server.client.runs.create({
          task: "x",
          repositoryUrl: repository,
          settings: { sandboxDriver: "process" },
          permissionPolicy: { ask: [], deny: [] },
        });
        const unisolated = await server.client.runs.waitForEnd(own.id);
        await server.leave();
        expect(status.sandbox).toMatchObject({ available: false, reason: expect.stringMatching(reason) as string });
        expect(refused).toMatchObject({ status: 422, code: "sandbox_not_available", message: expect.stringMatching(reason) as string });
        expect(byCommand).toMatchObject({ code: 3, stdout: "", stderr: expect.stringContaining(status.sandbox.reason ?? "?") });
        expect(unisolated.status).toBe("completed");
        const doctor = await run(home, ["doctor", "--json"], { before });
        expect(doctor).toMatchObject({ code: 1, stdout: expect.stringContaining(JSON.stringify(status.sandbox.reason)) });
      },
      60_000,
    );

    test("cannot have limits: runs work, the record says so, status and doctor warn", async () => {
      const before = ["bwrap", "--dev-bind", "/", "/", "--ro-bind", "/sys/fs/cgroup", "/sys/fs/cgroup", "--"];
      const repository = makeRepository(home.root, { "README.md": "# x\n" });
      const server = await serve(home, ["--simulate"], { before });
      const { sandbox } = await server.client.status();
      const { id } = await server.client.runs.create({ task: "x", repositoryUrl: repository });
      const ended = await server.client.runs.waitForEnd(id);
      const log = await readLog(server.client, id);
      const { stdout } = await run(home, ["status"]);
      const strict = await run(home, ["run", "x", "--repo", repository, "--isolation-floor", "strict"]);
      await server.leave();
      expect(strict).toMatchObject({
        code: 3,
        stderr: expect.stringMatching(
          /isolation floor strict[^]*limited\smemory,\slimited\sprocessors,\sa\slimited\snumber\sof\sprocesses,[^]*Start\sthe\sserver/,
        ) as string,
      });
      expect(ended.status).toBe("completed");
      expect(sandbox).toMatchObject({ available: true, limits: { memory: false, cpus: false, pids: false } });
      const [record] = log.flatMap((event) => (event.type === "sandbox.ready" ? [event.data] : []));
      expect(record?.sandbox.granted).toEqual({ memoryBytes: null, cpus: null, pids: null, diskBytes: 10 * 1024 ** 3 });
      expect(stdout).toContain("memory, cpu, processes are not limited: this machine does not let the server make control groups for it");
      const doctor = await run(home, ["doctor"], { before });
      expect(doctor.stdout).toMatch(
        /! limits +memory, cpu, processes of a run cannot be limited here\n +Start the server in a control group of its own: systemd-run --user --scope -p Delegate=yes runyard up\n/,
      );
      expect(doctor.stdout).toMatch(/· floors +none, sandbox can be kept; strict asks for limited memory/);
    }, 60_000);
  });

  test("without git: a run is refused, the doctor, the demo and set-up say what to do", async () => {
    const bin = path.join(home.root, "bin");
    mkdirSync(bin);
    for (const program of ["node", "sh", "unshare"]) symlinkSync(placeOf(program), path.join(bin, program));
    const env = { PATH: bin, TMPDIR: home.root };
    const repository = makeRepository(home.root, { "README.md": "# x\n" });
    const server = await serve(home, ["--simulate"], { env });
    const refused = await run(home, ["run", "x", "--repo", repository]);
    await server.leave();
    expect(refused).toMatchObject({
      code: 3,
      stdout: "",
      stderr: expect.stringMatching(/^error: git is not installed on the server's machine, or not on the server's PATH\n/) as string,
    });
    const doctor = await run(home, ["doctor"], { env });
    expect(doctor.code).toBe(1);
    expect(doctor.stdout).toMatch(/✗ git +not installed, or not on the PATH\n +Install git, for example: sudo apt-get install git\n/);
    const demo = await run(home, ["demo"], { env });
    expect(demo).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/\nerror: git is not installed, or not on the PATH\.\n {2}Install git and try again\.\n$/) as string,
    });
    expect(readdirSync(home.root).filter((name) => name.startsWith("runyard-demo-"))).toEqual([]);
    for (const program of ["bwrap", "socat"]) writeFileSync(path.join(bin, program), "", { mode: 0o755 });
    expect(spawnSync(process.execPath, [BOOTSTRAP, "demo"], { env, encoding: "utf8" })).toMatchObject({
      status: 1,
      stdout: "",
      stderr:
        "Runyard needs git on this machine to work on repositories.\nInstall git with your system's package manager, then start again.\n",
    });
    await expectServes(home);
  }, 60_000);

  describe.skipIf(unavailable !== null)("a clock", () => {
    test.skipIf(!full)(
      "that was ahead for a while: a home and runs from tomorrow are served as ever (in the full tests)",
      async () => {
        const repository = makeRepository(home.root, { "README.md": "# x\n" });
        const first = await serve(home, ["--simulate"]);
        const early = await first.client.runs.create({ task: "tomorrow's", repositoryUrl: repository });
        await first.client.runs.waitForEnd(early.id);
        const record = readFileSync(path.join(root, "server.json"), "utf8");
        await first.leave();
        writeFileSync(path.join(root, "server.json"), record.replace(/"startTime":"\d+"/, '"startTime":"99999999999"'));
        const tomorrow = new Date(Date.now() + DAY_MS);
        for (const name of readdirSync(root, { recursive: true, encoding: "utf8" })) lutimesSync(path.join(root, name), tomorrow, tomorrow);
        await changeRun(early.id, "created_at = created_at + interval '1 day', started_at = started_at + interval '1 day'");

        expect(await run(home, ["status"])).toMatchObject({ code: 1, stderr: expect.stringContaining("No Runyard is running here.") });
        const server = await serve(home, ["--simulate"]);
        const now = await server.client.runs.create({ task: "today's", repositoryUrl: repository });
        expect((await readLog(server.client, now.id)).at(-1)?.type).toBe("run.completed");
        expect((await readLog(server.client, early.id)).at(-1)?.type).toBe("run.completed");
        const listed = await run(home, ["runs"]);
        expect(listed.stdout).toMatch(/tomorrow's/);
        expect(listed.stdout).not.toMatch(/-\d/);
        expect(await run(home, ["show", early.id])).toMatchObject({ code: 0, stderr: "" });
        await server.leave();
      },
      60_000,
    );

    test("of a command that is behind the server's: no time is negative", async () => {
      const server = await serve(home, ["--simulate"]);
      const { id } = await server.client.runs.create({ task: "x", repositoryUrl: makeRepository(home.root, { "README.md": "# x\n" }) });
      await server.client.runs.waitForEnd(id);
      const env = wrongClock(-DAY_MS);
      expect((await run(home, ["status"], { env })).stdout).toMatch(/, up for 0 s\n/);
      for (const words of [["runs"], ["show", id], ["logs", id]]) {
        const { code, stdout } = await run(home, words, { env });
        expect(code).toBe(0);
        expect(stdout).not.toMatch(/ -\d/);
      }
      await server.leave();
    }, 60_000);

    test("that is a year behind the database's: a run is done and its log ends", async () => {
      const server = await serve(home, ["--simulate"], { env: wrongClock(-365 * DAY_MS) });
      const repository = makeRepository(home.root, { "README.md": "# x\n" });
      const { id } = await server.client.runs.create({ task: "x", repositoryUrl: repository });
      expect((await readLog(server.client, id)).at(-1)?.type).toBe("run.completed");
      await server.leave();
    }, 60_000);

    test.each([
      ["behind", -365 * DAY_MS],
      ["ahead of", 365 * DAY_MS],
    ])(
      "that is a year %s the database's: the time limit of a run is as long as it should be",
      async (_, offsetMs) => {
        const server = await serve(home, ["--unsafe-process"], { env: wrongClock(offsetMs) });
        const repositoryUrl = makeRepository(home.root, { "README.md": "# x\n" });
        const started = performance.now();
        const command = ["sh", "-c", "exec sleep 86398"];
        const { id } = await server.client.runs.create({ task: "x", repositoryUrl, agent: { command }, settings: { timeout: 2_000 } });
        expect((await readLog(server.client, id)).at(-1)?.type).toBe("run.timeout");
        expect(performance.now() - started).toBeGreaterThan(1_900);
        await server.leave();
      },
      60_000,
    );
  });

  async function changeRun(id: string, change: string): Promise<void> {
    const admin = new pg.Client({ connectionString: database.connectionString });
    await admin.connect();
    await admin.query(`update runyard.runs set ${change} where id = $1`, [id]);
    await admin.end();
  }
});

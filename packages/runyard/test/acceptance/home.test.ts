// `runyard up` in a home that cannot be used, or in which something is damaged: each says so before anything is
// started, and with its cause gone the next start works. The rows stand in docs/acceptance.md.
import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sandboxDriver } from "../../src/sandbox/drivers.ts";
import { createTestDatabase, type TestDatabase } from "../../src/testing/database.ts";
import { makeTestHome, type TestHome } from "../../src/testing/server.ts";
import { whyNoSmallDisk } from "../../src/testing/small-disk.ts";
import { expectServes, processesOf, refusedStart, removeHome, run, serve } from "./place.ts";

const isRoot = process.getuid?.() === 0;
const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const noDisk = whyNoSmallDisk();
/** An ordinary user of this machine, where the test runs as root. */
const NOBODY = 65_534;
const asNobody = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--no-new-privs"];

const isShort = process.env["RUNYARD_TEST_FULL"] === undefined;

describe.skipIf(process.platform !== "linux" || isShort)(isShort ? "a home (npm run test:full)" : "a home", () => {
  let database: TestDatabase;
  let home: TestHome;
  /** The path of the home itself; `home.root` is above it. */
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

  const refusal = (message: string, advice: string) => ({ code: 1, stdout: "", stderr: `error: ${message}\n  ${advice}\n` });

  test("that is a file: up, down and status say so; without the file it works", async () => {
    writeFileSync(root, "");
    const isFile = refusal(`${root} is a file, not a folder.`, "Move that file away, or set RUNYARD_HOME to a folder that is yours.");
    for (const words of [["up", "--port", "0"], ["down"], ["status"]]) expect(await run(home, words)).toEqual(isFile);
    const below = path.join(root, "below");
    expect(await refusedStart(home, [], { env: { RUNYARD_HOME: below } })).toEqual(
      refusal(
        `${below} cannot be made: ${root} is a file, not a folder.`,
        "Move that file away, or set RUNYARD_HOME to a folder that is yours.",
      ),
    );
    rmSync(root);
    await expectServes(home);
  }, 60_000);

  test("that belongs to somebody else", async () => {
    let other = "/usr";
    if (isRoot) {
      mkdirSync(root);
      chownSync(root, NOBODY, NOBODY);
      other = root;
    }
    const advice = "Run Runyard as the user that owns it, or set RUNYARD_HOME to a folder that is yours.";
    expect(await refusedStart(home, [], { env: { RUNYARD_HOME: other } })).toEqual(refusal(`${other} belongs to another user.`, advice));
    const { code, stdout } = await run(home, ["doctor"], { env: { RUNYARD_HOME: other } });
    expect(code).toBe(1);
    expect(stdout).toMatch(/✗ home +\S+ belongs to another user\n +Run Runyard as the user that owns it/);
  });

  test.skipIf(!isRoot)(
    "whose owner another user is: that user's commands cannot know whether it runs, and say so (needs root)",
    async () => {
      mkdirSync(root, { mode: 0o700 });
      chmodSync(home.root, 0o755);
      const other = refusal(
        `${root} belongs to another user.`,
        "Run Runyard as the user that owns it, or set RUNYARD_HOME to a folder that is yours.",
      );
      for (const command of ["down", "status"]) expect(await run(home, [command], { before: asNobody })).toEqual(other);
    },
  );

  test.skipIf(unavailable !== null)(
    "that cannot be written; where it can, it works",
    async () => {
      mkdirSync(root);
      const before = ["bwrap", "--dev-bind", "/", "/", "--ro-bind", root, root, "--"];
      expect(await refusedStart(home, [], { before })).toEqual(
        refusal(`${root} lies on a file system that cannot be written.`, "Set RUNYARD_HOME to a folder on another one."),
      );
      expect((await run(home, ["doctor"], { before })).stdout).toMatch(/✗ home +\S+ lies on a file system that cannot be written\n/);
      await expectServes(home);
    },
    60_000,
  );

  test("without the right to write above it", async () => {
    const before = isRoot ? asNobody : [];
    chmodSync(home.root, isRoot ? 0o755 : 0o500);
    const refused = await run(home, ["up", "--port", "0"], { before });
    chmodSync(home.root, 0o700);
    expect(refused).toEqual(
      refusal(
        `${root} cannot be written.`,
        `Give your user the right to write ${home.root}, or set RUNYARD_HOME to a folder that is yours.`,
      ),
    );
    expect(processesOf(home)).toEqual([]);
  });

  describe.skipIf(noDisk !== null)(`on a full disk${noDisk === null ? "" : ` (skipped: ${noDisk})`}`, () => {
    beforeEach(() => {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", home.root]);
    });
    afterEach(() => {
      execFileSync("umount", [home.root]);
    });
    const full = () =>
      refusal(
        "The disk is full.",
        "Make room, or set RUNYARD_HOME to a larger disk, and try again. `runyard doctor` says how much is free.",
      );

    test("the first start says so; with room it works", async () => {
      expect(await refusedStart(home)).toEqual(full());
      const { stdout } = await run(home, ["doctor"]);
      expect(stdout).toMatch(/✗ disk +\d+\.\d KB free for /);
      execFileSync("mount", ["-o", "remount,size=64m", home.root]);
      await expectServes(home);
    }, 60_000);

    test("so does the start of the built-in PostgreSQL", async () => {
      execFileSync("mount", ["-o", "remount,size=20m", home.root]);
      expect(await refusedStart(home, [], { env: { DATABASE_URL: "" } })).toEqual(full());
    }, 60_000);

    test("a start that has its programs says so too", async () => {
      execFileSync("mount", ["-o", "remount,size=64m", home.root]);
      await expectServes(home);
      const kept = readFileSync(path.join(root, "runner-id"), "utf8");
      const { bavail, bsize } = statfsSync(home.root);
      const filler = path.join(home.root, "filler");
      writeFileSync(filler, Buffer.alloc(bavail * bsize));
      rmSync(path.join(root, "secret"));
      expect(await refusedStart(home)).toEqual(full());
      rmSync(filler);
      expect(existsSync(path.join(root, "secret"))).toBe(false);
      await expectServes(home);
      expect(readFileSync(path.join(root, "runner-id"), "utf8")).toBe(kept);
    }, 60_000);
  });

  test("with a path that is too long is refused; one that is as long as can be works", async () => {
    const long = path.join(home.root, "l".repeat(300));
    expect(await refusedStart(home, [], { env: { RUNYARD_HOME: long } })).toEqual(
      refusal("The path of the home is longer than this system takes.", "Set RUNYARD_HOME to a shorter one."),
    );
    await expectServes(home, [], { env: { RUNYARD_HOME: path.join(home.root, "l".repeat(255), "m".repeat(200)) } });
  }, 60_000);

  test("with odd characters works; the built-in PostgreSQL refuses those that a shell reads", async () => {
    const odd = path.join(home.root, `odd "$(touch owned)' ; \`x\` ü%20 #`);
    await expectServes(home, [], { env: { RUNYARD_HOME: odd } });
    expect(await refusedStart(home, [], { env: { RUNYARD_HOME: odd, DATABASE_URL: "" } })).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: PostgreSQL cannot live in ${odd}: set RUNYARD_HOME to a path without any of " $ \` \\ and line breaks.\n`,
    });
  }, 60_000);

  describe("with a file in it that is damaged", () => {
    const garbage = Buffer.from([0xff, 0x00, 0x20, 0x41, 0x0a, 0x42]);
    const cases = [
      ["admin-token", "holds no token", "Remove that file and start the server again: it then makes a new token."],
      ["secret", "is empty", "Remove it and start again: a new one is made, and agents that still run lose their model."],
      [
        "secrets-key",
        "holds no key",
        "Put it back as it was. If it is lost, remove it and start again: a new one is made, and every secret must be stored again.",
      ],
      [
        "runner-id",
        "does not hold this home's name",
        "Put it back as it was. If it is lost, remove it and start again: a new one is made, and runs that were in flight stay unfinished.",
      ],
    ] as const;

    test("is empty, garbage or a folder: the start says what it costs to lose it", async () => {
      mkdirSync(root);
      for (const [name, lack, advice] of cases) {
        const file = path.join(root, name);
        // Any bytes will do for a secret.
        for (const content of name === "secret" ? [Buffer.alloc(0)] : [Buffer.alloc(0), garbage]) {
          writeFileSync(file, content);
          expect(await refusedStart(home)).toEqual(refusal(`${file} ${lack}.`, advice));
        }
        rmSync(file);
        mkdirSync(file);
        expect(await refusedStart(home)).toEqual(refusal(`${file} is a folder where a file should be.`, "Move it away and try again."));
        rmSync(file, { recursive: true });
      }
      await expectServes(home);
    }, 60_000);

    test.each(["admin-token", "secret", "secrets-key", "runner-id", "server.json"])("%s: not readable", async (name) => {
      const file = path.join(root, name);
      mkdirSync(root, { mode: 0o700 });
      writeFileSync(file, "x\n", { mode: 0 });
      if (isRoot) {
        chownSync(root, NOBODY, NOBODY);
        chmodSync(home.root, 0o755);
      }
      expect(await run(home, ["up", "--port", "0"], { before: isRoot ? asNobody : [] })).toEqual(
        refusal(`${file} may not be used by this user.`, "Use the user that owns it, or change its rights."),
      );
      expect(processesOf(home)).toEqual([]);
    });

    test("server.json: empty or garbage hinders nothing, a folder is told", async () => {
      const file = path.join(root, "server.json");
      mkdirSync(root);
      writeFileSync(file, "");
      await expectServes(home);
      writeFileSync(file, garbage);
      expect(await run(home, ["status"])).toMatchObject({ code: 1, stderr: expect.stringContaining("No Runyard is running here.") });
      rmSync(file);
      mkdirSync(file);
      const folder = refusal(`${file} is a folder where a file should be.`, "Move it away and try again.");
      expect(await refusedStart(home)).toEqual(folder);
      expect(await run(home, ["down"])).toEqual(folder);
      expect((await run(home, ["doctor"])).stdout).toMatch(/✗ server +\S+ is a folder where a file should be\.\n/);
    }, 60_000);

    test("server.json, of a server that lives: it is found all the same, and down ends everything", async () => {
      const server = await serve(home);
      writeFileSync(path.join(root, "server.json"), garbage);
      expect(await run(home, ["status", "--json"])).toMatchObject({ code: 0, stdout: expect.stringContaining(server.url) });
      expect(await run(home, ["up", "--port", "0"])).toEqual(
        refusal(
          `Runyard is already running for ${root} at ${server.url} (pid ${server.pid}).`,
          "Use it, stop it with `runyard down`, or set RUNYARD_HOME to another place.",
        ),
      );
      expect(await run(home, ["down"])).toMatchObject({ code: 0, stderr: `Stopped. Logs and results stay in ${root}\n` });
      expect(processesOf(home)).toEqual([]);
    }, 60_000);
  });

  test("whose token's file is worth nothing: a command names the file", async () => {
    mkdirSync(root);
    const file = path.join(root, "admin-token");
    const elsewhere = { env: { RUNYARD_URL: "http://127.0.0.1:4600" } };
    const advice = "Remove that file and start the server again: it then makes a new token.";
    writeFileSync(file, "two words");
    expect(await run(home, ["runs"], elsewhere)).toEqual({
      ...refusal(`${file} holds no token: token must be printable characters without spaces`, advice),
      code: 4,
    });
    writeFileSync(file, "\n");
    expect(await run(home, ["token", "--show"])).toEqual({ ...refusal(`${file} is empty.`, advice), code: 4 });
  });
});

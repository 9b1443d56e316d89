import { execFileSync } from "node:child_process";
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Home } from "../../home.ts";
import { chooseAccount } from "./account.ts";
import { dataDirOf } from "./cluster.ts";
import { postgresPid, stopPostgres } from "./postgres.ts";
import { installPrograms } from "./programs.ts";
import { moduleUrl, outputOf, scratchHome, startNode, type Scratch } from "./testing.ts";
import { isFull } from "../../testing/full.ts";

// Several cold starts in one test, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const isRoot = process.getuid?.() === 0;
const hasNamespaces = isRoot && (await chooseAccount()).kind === "namespace";

/** The real uid of a process, as the whole machine sees it. */
function uidOf(pid: number | null): number {
  return Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

/** Ensures a home's server in a process with this environment; gives its answer, or the error's message. */
async function ensureIn(home: Home, env: NodeJS.ProcessEnv): Promise<string> {
  const program = `
    import { homeAt } from ${JSON.stringify(moduleUrl("../../home.ts"))};
    import { ensurePostgres } from ${JSON.stringify(moduleUrl("postgres.ts"))};
    await ensurePostgres({ home: homeAt(${JSON.stringify(home.root)}) }).then(
      ({ adopted }) => console.log(adopted ? "adopted" : "started"),
      (error) => console.log(error.message),
    );
    process.exit();`;
  return (await outputOf(startNode(program, env))).trim();
}

/** A folder for PATH in which there is no \`unshare\`, as on a machine that gives no user namespaces. */
function pathWithoutUnshare(): { dir: string; clear(): void } {
  const dir = mkdtempSync(path.join(tmpdir(), "runyard-path-"));
  symlinkSync(execFileSync("which", ["true"], { encoding: "utf8" }).trim(), path.join(dir, "true"));
  return { dir, clear: () => rmSync(dir, { recursive: true, force: true }) };
}

let lender: Scratch;
beforeAll(async () => {
  lender = scratchHome({ mode: 0o755 });
  mkdirSync(lender.home.runtimeDir, { recursive: true, mode: 0o755 });
  await installPrograms(lender.home);
});
afterAll(() => lender.clear());

test.skipIf(!hasNamespaces)("as root, below a home that only root may enter, it runs in a user namespace", async () => {
  const scratch = scratchHome({ mode: 0o700, programsOf: lender.home });
  expect(await ensureIn(scratch.home, {})).toBe("started");
  const pid = postgresPid(scratch.home);
  expect(uidOf(pid)).toBe(0);
  expect(readFileSync(`/proc/${pid}/uid_map`, "utf8").trim().split(/\s+/).slice(1)).toEqual(["0", "1"]);
  await scratch.clear();
});

test.skipIf(!isRoot)("as root without user namespaces, it runs under a uid that is nobody else's", async () => {
  const scratch = scratchHome({ mode: 0o755 });
  const bare = pathWithoutUnshare();
  expect(await ensureIn(scratch.home, { PATH: bare.dir })).toBe("started");
  expect(uidOf(postgresPid(scratch.home))).toBe(60_770);
  expect(statSync(dataDirOf(scratch.home)).uid).toBe(60_770);
  // Others may pass through the home now, but neither list it nor read what is below.
  expect(statSync(scratch.home.root).mode & 0o777).toBe(0o711);
  expect(await ensureIn(scratch.home, { PATH: bare.dir })).toBe("adopted");
  await stopPostgres(scratch.home);
  expect(await ensureIn(scratch.home, { PATH: bare.dir })).toBe("started");
  if (hasNamespaces) {
    // The same home where there are namespaces: its files come back to root.
    await stopPostgres(scratch.home);
    expect(await ensureIn(scratch.home, {})).toBe("started");
    expect(uidOf(postgresPid(scratch.home))).toBe(0);
  }
  bare.clear();
  await scratch.clear();
});

test.skipIf(!isRoot)("as root without user namespaces, a home that nobody else can reach is refused plainly", async () => {
  const scratch = scratchHome({ mode: 0o700 });
  const bare = pathWithoutUnshare();
  const answer = await ensureIn(scratch.home, { PATH: bare.dir });
  expect(answer).toMatch(/PostgreSQL cannot run as root.*no other user may enter .*set RUNYARD_HOME.*set DATABASE_URL/);
  bare.clear();
  await scratch.clear();
});

const USERS = [
  ["with a name", 1],
  ["without a name", 12_345],
] as const;

test.skipIf(!isRoot).each(isFull ? USERS : USERS.slice(1))("an ordinary user %s runs it as itself", async (_, uid) => {
  const scratch = scratchHome({ mode: 0o755, programsOf: lender.home });
  for (const dir of [scratch.home.root, scratch.home.runtimeDir]) chownSync(dir, uid, uid);
  const program = `
    import { homeAt } from ${JSON.stringify(moduleUrl("../../home.ts"))};
    process.setgroups([]); process.setgid(${uid}); process.setuid(${uid});
    const { ensurePostgres } = await import(${JSON.stringify(moduleUrl("postgres.ts"))});
    await ensurePostgres({ home: homeAt(${JSON.stringify(scratch.home.root)}) }).then(
      ({ adopted }) => console.log(adopted ? "adopted" : "started"),
      (error) => console.log(error.message),
    );
    process.exit();`;
  expect((await outputOf(startNode(program))).trim()).toBe("started");
  expect(uidOf(postgresPid(scratch.home))).toBe(uid);
  await scratch.clear();
});

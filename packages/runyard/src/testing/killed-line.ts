import type { Run } from "@runyard/sdk/contract";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll } from "vitest";
import { openDatabaseLine } from "./database-line.ts";
import { createTestDatabase } from "./database.ts";
import type { GithubLab } from "./github-lab.ts";
import { type Line, useLine } from "./line.ts";

/** Where the server is killed. */
export type KillPoint =
  /** At a statement, which is then lost (`cut`), or done without an answer (`carry`). `since`: only behind another statement. */
  | { readonly sql: string; readonly fate: "carry" | "cut"; readonly since?: string }
  /** At a request to GitHub's API: a method, and how the path ends. */
  | { readonly api: string; readonly when: "before" | "after" }
  /** When a push is done, and not answered yet. */
  | { readonly push: "unanswered" }
  /** When a file or folder is there, below the folder of the run's attempts. */
  | { readonly place: string };

/** A line whose server is killed on the way of a run on the repository of a lab, and started again each time. */
export interface KilledLine {
  readonly line: Line;
  /** How often it was killed. */
  readonly kills: number;
  /** Begins a run, or a turn, and gives it when it has ended; kills the server at these points, one after the other, as far as it passes them. */
  through(points: readonly KillPoint[], begin: () => Promise<Pick<Run, "id">>): Promise<Run>;
}

export async function useKilledLine(lab: GithubLab): Promise<KilledLine> {
  const database = await createTestDatabase();
  const dir = mkdtempSync(path.join(tmpdir(), "runyard-kills-"));
  const pidFile = path.join(dir, "pid");
  let armed: KillPoint | null = null;
  let isSince = false;
  let kills = 0;
  const kill = (): void => {
    armed = null;
    kills += 1;
    process.kill(Number(readFileSync(pidFile, "utf8")), "SIGKILL");
  };
  const databaseLine = await openDatabaseLine(database.connectionString, (data, from) => {
    if (armed === null || !("sql" in armed) || from !== "client") return "carry";
    const { sql, fate, since } = armed;
    isSince ||= since === undefined || data.includes(since);
    if (!isSince || !data.includes(sql)) return "carry";
    kill();
    return fate;
  });
  // Every server says who it is before it does anything, so that it can be killed before it is ready, too.
  const sayPid = `import{writeFileSync}from"node:fs";if(process.argv[2]==="up")writeFileSync(${JSON.stringify(pidFile)},String(process.pid))`;
  const line = useLine({
    env: {
      ...lab.env,
      DATABASE_URL: databaseLine.url,
      RUNYARD_TEST_POLL_MS: "50",
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(sayPid)}`,
    },
  });
  beforeAll(async () => {
    await line.client.credentials.set({ kind: "token", url: lab.git.url, token: lab.token });
  });
  afterAll(async () => {
    databaseLine.close();
    await database.drop();
    await lab.close();
    rmSync(dir, { recursive: true, force: true });
  });

  function watchLab(): void {
    lab.git.ways.afterPush = () => {
      if (armed === null || !("push" in armed)) return true;
      kill();
      return false;
    };
    lab.github.watch((asked, when) => {
      if (armed === null || !("api" in armed) || armed.when !== when) return;
      const [method = "", end = ""] = armed.api.split(" ");
      if (asked.startsWith(method) && asked.endsWith(end)) kill();
    });
  }

  return {
    line,
    get kills() {
      return kills;
    },
    async through(points, begin) {
      watchLab();
      let next = 0;
      const arm = (): void => {
        isSince = false;
        armed = points[next++] ?? null;
      };
      arm();
      const { id } = await begin();
      const attempts = path.join(line.home.root, "home", "runs", id);
      for (let seen = kills; ;) {
        if (armed !== null && "place" in armed && existsSync(path.join(attempts, armed.place))) kill();
        const now = await line.client.runs.get(id).catch(() => null);
        if (kills > seen) {
          seen = kills;
          arm();
          await line.restart().catch((error: unknown) => {
            if (kills === seen) throw error;
          });
        } else if (now !== null && now.finishedAt !== null) {
          armed = null;
          return now;
        } else await sleep(10);
      }
    },
  };
}

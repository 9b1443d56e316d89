import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, afterEach } from "vitest";
import { type Home, homeAt } from "../../home.ts";
import { type Gateway, openGateway, stopGateway } from "../client.ts";
import {
  type BudgetLine,
  type DivergenceLine,
  type ExchangeClose,
  type ExchangeLine,
  type ExchangeOpen,
  parseExchangeLine,
} from "../exchange-journal.ts";
import { livingLives } from "../lives.ts";
import type { RegisteredRun } from "../protocol.ts";
import { isAlive } from "../../process-identity.ts";

/** The gateway's process as it is shipped, in one file; `mark` makes another program of the same code. */
export async function bundleGateway(dir: string, mark = "a"): Promise<string> {
  const program = path.join(dir, `gateway-${mark}.mjs`);
  await build({
    entryPoints: [fileURLToPath(new URL("../main.ts", import.meta.url))],
    outfile: program,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    conditions: ["runyard-source"],
    logLevel: "silent",
  });
  writeFileSync(program, `${readFileSync(program, "utf8")}\n// ${mark}\n`);
  return program;
}

export interface Hosts {
  /** A home of its own, whose gateway is ended. */
  newHost(options?: { below?: string }): TestHost;
  /** One gateway for all tests of the file. */
  shared(): Promise<{ host: TestHost; gateway: Gateway }>;
  program(mark?: string): Promise<string>;
}

/** For a test file: a bundled program, and homes with gateways of it, which end `after` each test, or all where tests run at once. */
export function useHosts(after: typeof afterEach | typeof afterAll = afterEach): Hosts {
  const dir = mkdtempSync(path.join(tmpdir(), "ry-gw-"));
  const programs = new Map<string, Promise<string>>();
  const hosts: TestHost[] = [];
  let kept: Promise<{ host: TestHost; gateway: Gateway }> | undefined;
  let count = 0;
  const program = (mark = "a"): Promise<string> => {
    const known = programs.get(mark) ?? bundleGateway(dir, mark);
    programs.set(mark, known);
    return known;
  };
  const newHome = (below = ""): TestHost => {
    count += 1;
    const root = path.join(dir, below, `home${count}`);
    mkdirSync(root, { recursive: true });
    return testHost(homeAt(root), program);
  };
  after(async () => {
    await Promise.all(hosts.splice(0).map((host) => host.end()));
  });
  afterAll(async () => {
    await (await kept)?.host.end();
    rmSync(dir, { recursive: true, force: true });
  });
  return {
    program,
    newHost({ below } = {}) {
      const host = newHome(below);
      hosts.push(host);
      return host;
    },
    async shared() {
      kept ??= (async () => {
        const host = newHome();
        return { host, gateway: await host.open() };
      })();
      return await kept;
    },
  };
}

export interface TestHost {
  readonly home: Home;
  readonly log: string[];
  /** Opens the gateway as a server does. */
  open(options?: { mark?: string; execArgv?: readonly string[] }): Promise<Gateway>;
  /** Beginnings and ends of calls. */
  lines(runId: string): (ExchangeOpen | ExchangeClose)[];
  divergences(runId: string): DivergenceLine[];
  /** Where its budget stood in the way. */
  budgetLines(runId: string): BudgetLine[];
  closes(runId: string): ExchangeClose[];
  end(): Promise<void>;
}

function testHost(home: Home, program: (mark?: string) => Promise<string>): TestHost {
  const log: string[] = [];
  const opened: Gateway[] = [];
  const allLines = (runId: string): ExchangeLine[] => journalLines(path.join(home.gatewayDir, "runs", runId, "exchanges.ndjson"));
  const lines: TestHost["lines"] = (runId) => allLines(runId).filter((line) => line.type === "open" || line.type === "close");
  return {
    home,
    log,
    async open({ mark, execArgv = [] } = {}) {
      const gateway = await openGateway({ home, program: await program(mark), execArgv, onLog: (message) => log.push(message) });
      opened.push(gateway);
      return gateway;
    },
    lines,
    divergences: (runId) => allLines(runId).filter((line) => line.type === "divergence"),
    budgetLines: (runId) => allLines(runId).filter((line) => line.type === "budget"),
    closes: (runId) => lines(runId).filter((line) => line.type === "close"),
    async end() {
      for (const gateway of opened) gateway.close();
      const lives = livingLives(home.gatewayDir);
      await stopGateway(home);
      const left = lives.filter((life) => isAlive(life.process));
      if (left.length > 0) throw new Error(`gateways live on: ${JSON.stringify(left)}`);
    },
  };
}

/** Every line of a journal; throws for one that is no line of a journal. */
export function journalLines(file: string): ExchangeLine[] {
  const text = readFileSync(file, "utf8");
  if (text !== "" && !text.endsWith("\n")) throw new Error(`${file} ends in the middle of a line`);
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => parseExchangeLine(line) ?? fail(line));
}

function fail(line: string): never {
  throw new Error(`not a line of a journal: ${line}`);
}

let runCount = 0;

/** A run's id and token, different each time. */
export function newRun(): RegisteredRun {
  runCount += 1;
  const digits = String(runCount).padStart(23, "0");
  return {
    runId: `run_01k${digits}`,
    token: `ryg_test_token_${process.pid}_${digits}`,
    model: null,
    simulated: false,
    mcpServers: [],
    egress: [],
    egressNetworks: [],
    turn: 1,
    attempt: 1,
    replay: null,
    secrets: [],
  };
}

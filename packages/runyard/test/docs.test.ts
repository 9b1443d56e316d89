// The pages for people, held against the product: their commands and programs run, their links lead somewhere,
// and what they list is what the contract and the sources have.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { API_ERRORS, EVENT_TYPES, eventDataSchemas, RUN_ERROR_TYPES, RUN_PHASES, RUN_STATUSES, TOOL_KINDS } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { onPath, realProgram } from "../src/agents/profiles/installed-program.ts";
import { homeAt } from "../src/home.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { publishedProgram } from "../src/testing/published.ts";
import { makeRepository, makeTestHome, type TestHome, type TestServer } from "../src/testing/server.ts";
import { anchorsOf, codeWords, type Fence, linksOf, readPage, tableRows } from "./docs/markdown.ts";
import { type Block, runPage, wayOf } from "./docs/run-page.ts";
import { filesBelow, productSources, readSource, ROOT } from "./docs/sources.ts";

const PAGES = [...filesBelow("docs", [".md"]), "README.md"];
const LANGUAGES = ["sh", "ts", "json", "text"];
const SAMPLE = path.join(ROOT, "packages/runyard/assets/demo-repository");
/** The address in the pages: the tests' server has another one. */
const DEFAULT_URL = "http://127.0.0.1:4600";

function blocksOf(page: string): Block[] {
  const programs = readPage(readSource(page)).fences.filter((fence) => fence.language === "sh" || fence.language === "ts");
  return programs.map((fence) => ({ ...fence, way: wayOf(fence.remark) }));
}

/** Pages whose programs take ten seconds and more together. */
const TAKE_LONG = new Set(
  [
    "budgets",
    "cli",
    "isolation",
    "plans",
    "recordings",
    "repositories",
    "results",
    "runs-and-events",
    "saved-agents",
    "secrets",
    "setup",
  ].map((name) => `docs/${name}.md`),
);
const WITH_PROGRAMS = PAGES.filter((page) => blocksOf(page).length > 0);

describe("what the pages say", () => {
  test.each(PAGES)("%s links to what is there", (page) => {
    for (const link of linksOf(readPage(readSource(page)))) {
      if (/^[a-z]+:/.test(link)) continue;
      const [file = "", anchor] = link.split("#");
      const target = file === "" ? page : path.join(path.dirname(page), file);
      expect(existsSync(path.join(ROOT, target)), `${link} in ${page}`).toBe(true);
      if (anchor !== undefined) expect([...anchorsOf(readPage(readSource(target)))], `${link} in ${page}`).toContain(anchor);
    }
  });

  test.each(PAGES)("%s has fences in known languages, and JSON that is JSON", (page) => {
    for (const fence of readPage(readSource(page)).fences) {
      expect(LANGUAGES, `line ${fence.line} of ${page}`).toContain(fence.language);
      if (fence.language === "json") expect(() => JSON.parse(fence.code) as unknown, `line ${fence.line} of ${page}`).not.toThrow();
    }
  });

  test("every page is in the index", () => {
    const index = linksOf(readPage(readSource("docs/README.md")));
    const pages = PAGES.filter((page) => /^docs\/[^/]+$/.test(page) && page !== "docs/README.md").map((page) => path.basename(page));
    expect(index).toEqual(expect.arrayContaining(pages));
  });

  test("every variable that the product reads is in configuration.md", () => {
    const read = productSources().flatMap((file) =>
      Array.from(readSource(file).matchAll(/\benv(?:\["([A-Z_]+)"\]|\.([A-Z_]+)\b)/g), (match) => match[1] ?? match[2] ?? ""),
    );
    expect(read).toContain("RUNYARD_HOME");
    expect(codeWords(readSource("docs/configuration.md"))).toEqual(expect.arrayContaining([...new Set(read)]));
  });

  test("every place of the home is in configuration.md", () => {
    const { root, ...places } = homeAt("/home/runyard");
    const names = Object.values(places).map((place) => path.relative(root, place).split("/")[0] ?? "");
    const told = codeWords(readSource("docs/configuration.md")).map((word) => word.replace(/\/$/, ""));
    expect(told).toEqual(expect.arrayContaining(names));
  });

  test("statuses, phases, kinds and types of errors are in runs-and-events.md", () => {
    const words = codeWords(readSource("docs/runs-and-events.md"));
    for (const list of [RUN_STATUSES, RUN_PHASES, TOOL_KINDS, RUN_ERROR_TYPES]) expect(words).toEqual(expect.arrayContaining([...list]));
  });

  test("every type of event is in runs-and-events.md, with every field of its data, and no other", () => {
    const rows = tableRows(readPage(readSource("docs/runs-and-events.md"))).filter(([types]) => types !== "`error.type`");
    const known = new Map(rows.flatMap(([types = "", data = ""]) => codeWords(types).map((type) => [type, data] as const)));
    for (const type of EVENT_TYPES) {
      const fields = Object.keys(eventDataSchemas[type].shape);
      const told = codeWords(known.get(type) ?? "").flatMap((word) => word.split(/\W+/));
      expect(known.has(type), type).toBe(true);
      expect(told, type).toEqual(expect.arrayContaining(fields));
    }
    const dotted = [...known.keys()].filter((type) => type.includes("."));
    expect(EVENT_TYPES).toEqual(expect.arrayContaining(dotted));
  });

  test("every code of an API error is in api.md, with its status", () => {
    const rows = tableRows(readPage(readSource("docs/api.md")));
    for (const [code, { status }] of Object.entries(API_ERRORS))
      expect(
        rows.some(([first, second]) => first === `\`${code}\`` && second === String(status)),
        code,
      ).toBe(true);
  });

  test("the words that troubleshooting.md explains are those of the product", () => {
    const sources = productSources().map(readSource).join("\n");
    const headings = readPage(readSource("docs/troubleshooting.md")).prose.filter((line) => line?.startsWith("### "));
    const pieces = headings.flatMap((line) => codeWords(line ?? "").flatMap((words) => words.split("…")));
    const words = pieces.map((piece) => piece.replaceAll(/^[\s.,:()"]+|[\s.,:()"]+$/g, "")).filter((piece) => piece.length > 2);
    expect(words.length).toBeGreaterThan(80);
    expect(words.filter((piece) => !sources.includes(piece))).toEqual([]);
  });

  test("pictures tell nothing of the machine that they were made on", () => {
    for (const file of filesBelow("docs/pictures", [".svg"])) {
      const text = readSource(file).replaceAll(/<[^>]*>/g, " ");
      const paths = Array.from(text.matchAll(/(?<![^\s"'(])\/[\w.-]+(\/[\w.-]+)*/g), ([found]) => found);
      expect(
        paths.filter((found) => !/^\/(tmp\/demo-home|usr\/bin)(\/|$)/.test(found)),
        file,
      ).toEqual([]);
    }
  });

  test("what is not run says why", () => {
    const left = WITH_PROGRAMS.flatMap((page) =>
      blocksOf(page).flatMap(({ way, line }) => (way.how === "not run" ? [`${page}:${line}: ${way.reason}`] : [])),
    );
    const all = WITH_PROGRAMS.flatMap(blocksOf).length;
    console.info(`${all - left.length} of ${all} blocks are run. Not run:\n  ${left.join("\n  ")}`);
    expect(left.length).toBeLessThan(all / 2);
  });
});

describe("running a page", () => {
  const folders: string[] = [];
  afterAll(() => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });
  const sh = (code: string, remark: string | null = null): Block => {
    const fence: Fence = { language: "sh", code: `${code}\n`, line: 7, remark };
    return { ...fence, way: wayOf(remark) };
  };
  const run = (...blocks: Block[]): Promise<void> => runWithin(20_000, blocks);
  const runWithin = (timeoutMs: number, blocks: readonly Block[]): Promise<void> => {
    const folder = mkdtempSync(path.join(tmpdir(), "runyard-test-docs-"));
    folders.push(folder);
    return runPage(blocks, { folder, cwd: folder, env: { PATH: process.env["PATH"] }, timeoutMs });
  };

  test("a block that fails fails the page, wherever it fails, and is named", async () => {
    await expect(run(sh("true"), sh("false\ntrue"))).rejects.toThrow("line 7 failed (1):\nfalse");
    await expect(run(sh("false | true"))).rejects.toThrow("line 7");
    await expect(run(sh('echo "$nothing"'))).rejects.toThrow("nothing: unbound variable");
    await expect(run(sh("exit 0"), sh("exit 4", "exits 3"))).resolves.toBeUndefined();
    await expect(run(sh("exit 4", "exits 3"))).rejects.toThrow("not the exit code 3");
    await expect(run(sh("true", "exits 3"))).rejects.toThrow("not the exit code 3");
  });

  test("a block that does not end is ended, with what it started", async () => {
    await expect(runWithin(300, [sh("sleep 600 | cat")])).rejects.toThrow("line 7 failed (it took too long)");
  });

  test("blocks share their variables, and what is not to be run is not", async () => {
    const left = sh("exit 1", "not run: for a good reason");
    await expect(run(sh("a=1"), sh("exit 3", "exits 3"), left, sh('[ "$a" = 1 ]'))).resolves.toBeUndefined();
  });

  test("a remark that means nothing is refused", () => {
    expect(() => wayOf("not run")).toThrow("says nothing");
    expect(() => wayOf("exits 0")).toThrow("says nothing");
  });
});

const unavailable = onPath("curl", process.env).every((file) => realProgram(file) === null)
  ? "curl is not installed"
  : (await sandboxDriver("bwrap").probe()).reason;

describe.skipIf(unavailable !== null)(unavailable === null ? "pages" : `the programs of the pages cannot be run: ${unavailable}`, () => {
  const root = mkdtempSync(path.join(tmpdir(), "runyard-test-docs-"));
  let database: TestDatabase;
  let home: TestHome;
  let server: TestServer;

  beforeAll(async () => {
    database = await createTestDatabase();
    home = makeTestHome({ DATABASE_URL: database.connectionString, HOME: root, RUNYARD_HOME: path.join(root, ".runyard") });
    server = await home.up("--simulate");
    const program = await publishedProgram();
    mkdirSync(path.join(root, "bin"));
    writeFileSync(path.join(root, "bin/runyard"), `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`, { mode: 0o755 });
    writeFileSync(path.join(root, ".gitconfig"), "[user]\nname = Reader\nemail = reader@runyard.invalid\n");
  }, 120_000);
  afterAll(async () => {
    await home.close();
    await database.drop();
    rmSync(root, { recursive: true, force: true });
  });

  test("what the server makes in its home is in configuration.md", () => {
    const told = codeWords(readSource("docs/configuration.md")).map((word) => word.replace(/\/$/, ""));
    expect(told).toEqual(expect.arrayContaining(readdirSync(path.join(root, ".runyard"))));
  });

  /** A new sample in `~/src/project`, where every page begins. */
  function makeProject(): string {
    const folder = path.join(root, "src/project");
    rmSync(folder, { recursive: true, force: true });
    cpSync(SAMPLE, folder, { recursive: true });
    makeRepository(path.dirname(folder), {}, "project");
    return folder;
  }

  /** Somebody who answers what runs ask, while `decision` says what. */
  async function answerRuns(decision: () => "allow" | "deny" | null, over: AbortSignal): Promise<void> {
    for (; !over.aborted; await sleep(200)) {
      const answer = decision();
      if (answer === null) continue;
      const { data } = await server.client.runs.list({ status: "awaiting_input" });
      for (const run of data)
        for (const { id } of run.waitingFor) await server.client.runs.answerPermission(run.id, id, answer).catch(() => undefined);
    }
  }

  const isFull = process.env["RUNYARD_TEST_FULL"] !== undefined;
  for (const page of WITH_PROGRAMS)
    test.skipIf(!isFull && TAKE_LONG.has(page))(
      `${page} does what it says${!isFull && TAKE_LONG.has(page) ? " (npm run test:full)" : ""}`,
      async () => {
        const cwd = makeProject();
        const folder = mkdtempSync(path.join(root, "page-"));
        const blocks = blocksOf(page).map((block) => ({ ...block, code: block.code.replaceAll(DEFAULT_URL, server.url) }));
        const { DATABASE_URL, NO_COLOR } = home.env;
        const env = {
          PATH: `${path.join(root, "bin")}:${path.dirname(process.execPath)}:${process.env["PATH"]}`,
          HOME: root,
          DATABASE_URL,
          NO_COLOR,
        };
        let current: Block | null = null;
        const over = new AbortController();
        const decision = (): "allow" | "deny" | null => (current?.way.how === "run" ? current.way.answered : null);
        const answering = answerRuns(decision, over.signal);
        try {
          await expect(
            runPage(blocks, { folder, cwd, env, timeoutMs: 100_000, onBegin: (block) => (current = block) }),
          ).resolves.toBeUndefined();
        } finally {
          over.abort();
          await answering;
        }
      },
      120_000,
    );
});

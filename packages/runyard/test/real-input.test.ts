// Real histories through a real agent: this project's own repository, and a foreign one made of a
// published package's sources over several commits. No network but loopback.
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { resolveProfile } from "../src/agents/profiles/profiles.ts";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { type ScriptedModel, SCRIPTED_USAGE, startScriptedModel } from "../src/testing/scripted-model.ts";
import { gitIn, makeTestHome, readLog, type TestHome, type TestServer } from "../src/testing/server.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const env = { RUNYARD_OPENCODE: path.join(ROOT, "test", "agents") };
const [installation, sandbox] = await Promise.all([resolveProfile("opencode")?.probe(env), sandboxDriver("bwrap").probe()]);
const notHere = installation?.installed === true ? sandbox.reason : (installation?.reason ?? "there is no profile");
const missing = process.env["RUNYARD_TEST_FULL"] ? notHere : "only in the full tests (npm run test:full)";

describe.skipIf(missing !== null)(
  missing === null ? "real histories through opencode" : `real histories cannot be tested here: ${missing}`,
  () => {
    let database: TestDatabase;
    let home: TestHome;
    let server: TestServer;
    let model: ScriptedModel;

    beforeAll(async () => {
      database = await createTestDatabase();
      model = await startScriptedModel([
        { say: "I will look and write.", read: "package.json" },
        { write: ["NOTES.md", "written by opencode\n"] },
        { run: "git log --oneline | wc -l" },
        { say: "NOTES.md is written." },
      ]);
      home = makeTestHome({
        DATABASE_URL: database.connectionString,
        OPENAI_BASE_URL: model.url,
        OPENAI_API_KEY: "sk-decoy",
        RUNYARD_MODEL: "scripted-1",
        ...env,
      });
      server = await home.up();
    });
    afterAll(async () => {
      await home?.close();
      await model?.close();
      await database?.drop();
    });

    /** A package's sources as a history: each of its folders and files in a commit of its own. */
    function foreignRepository(): string {
      const repository = path.join(home.root, "foreign repository ä");
      const source = path.join(ROOT, "node_modules", "hono");
      mkdirSync(repository);
      gitIn(repository, "init", "--quiet", "--initial-branch=trunk");
      for (const part of ["package.json", "README.md", "LICENSE", "dist/types", "dist/middleware", "dist/utils", "dist/adapter"]) {
        cpSync(path.join(source, part), path.join(repository, part), { recursive: true });
        gitIn(repository, "add", "--all");
        gitIn(repository, "commit", "--quiet", "--message", `Add ${part}`);
      }
      writeFileSync(path.join(repository, ".gitattributes"), "*.md text eol=crlf\n*.bin filter=unknown\n");
      rmSync(path.join(repository, "LICENSE"));
      gitIn(repository, "add", "--all");
      gitIn(repository, "commit", "--quiet", "--message", "Set attributes, drop a file");
      return repository;
    }

    function ownRepository(): string {
      const repository = path.join(home.root, "own");
      gitIn(ROOT, "clone", "--quiet", "--no-local", ROOT, repository);
      return repository;
    }

    test.each([
      ["this project's own repository", ownRepository],
      ["a foreign history", foreignRepository],
    ])(
      "%s",
      async (_, make) => {
        const repository = make();
        const head = gitIn(repository, "rev-parse", "HEAD");
        const { id } = await server.client.runs.create({
          task: "Write NOTES.md",
          repositoryUrl: repository,
          agent: { profile: "opencode" },
        });
        const run = await server.client.runs.waitForEnd(id);
        expect(run).toMatchObject({ status: "completed", error: null, baseCommit: head });
        expect(gitIn(repository, "show", `runyard/${id}:NOTES.md`)).toBe("written by opencode");
        expect(gitIn(repository, "diff", "--name-status", head, `runyard/${id}`)).toBe("A\tNOTES.md");
        expect(gitIn(repository, "rev-parse", "HEAD")).toBe(head);
        expect(gitIn(repository, "status", "--porcelain")).toBe("");
        const log = await readLog(server.client, id);
        const commands = log.flatMap((event) => (event.type === "tool.finished" && event.data.kind === "execute" ? [event.data] : []));
        expect(commands[0]?.output?.trim()).toContain(gitIn(repository, "rev-list", "--count", "HEAD"));
        expect(run.usage.modelCalls).toBeGreaterThanOrEqual(4);
        expect(run.usage.inputTokens).toBe(run.usage.modelCalls * SCRIPTED_USAGE.inputTokens);
      },
      300_000,
    );
  },
);

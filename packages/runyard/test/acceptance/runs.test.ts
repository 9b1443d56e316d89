// Bad input and bad luck of runs: each case is planted, ends with exactly this code and message, and ends
// clean. The rows stand in docs/acceptance.md.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, statfsSync, truncateSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import type { Run } from "@runyard/sdk/contract";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { sandboxDriver } from "../../src/sandbox/drivers.ts";
import { processesWith, readProc } from "../../src/sandbox/testing/processes.ts";
import { createTestDatabase, type TestDatabase } from "../../src/testing/database.ts";
import { type ModelScript, startScriptedModel } from "../../src/testing/scripted-model.ts";
import { gitIn, makeRepository, makeTestHome, readLog, type TestHome, type TestServer } from "../../src/testing/server.ts";
import { whyNoSmallDisk } from "../../src/testing/small-disk.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const disk = whyNoSmallDisk();

const isShort = process.env["RUNYARD_TEST_FULL"] === undefined;
const why = unavailable === null ? (isShort ? "npm run test:full" : null) : `cannot be tested: ${unavailable}`;

describe.skipIf(why !== null)(why === null ? "runs" : `runs (${why})`, () => {
  let database: TestDatabase;
  let home: TestHome;
  let server: TestServer;
  let endpoint: Endpoint;

  beforeAll(async () => {
    database = await createTestDatabase();
    endpoint = await openEndpoint();
    home = makeTestHome({ DATABASE_URL: database.connectionString, OPENAI_BASE_URL: endpoint.url, RUNYARD_MODEL: "decoy-1" });
    server = await home.up();
  });
  afterEach(() => {
    // Whatever ended, ended whole: no process of any run is left.
    expect(processesOf(home)).toEqual([]);
  });
  afterAll(async () => {
    await home.close();
    await endpoint.close();
    await database.drop();
  });

  let count = 0;
  const repository = (files: Readonly<Record<string, string>> = {}): string =>
    makeRepository(home.root, { "README.md": "# x\n", ...files }, `repository-${(count += 1)}`);

  /** Gives a task that must fail, and returns why. */
  async function failed(request: { repositoryUrl: string; command?: string[]; timeout?: number }): Promise<Run> {
    const { repositoryUrl, command, timeout } = request;
    const { id } = await server.client.runs.create({
      task: "Do it",
      repositoryUrl,
      ...(command === undefined ? {} : { agent: { command } }),
      ...(timeout === undefined ? {} : { settings: { timeout } }),
    });
    const run = await server.client.runs.waitForEnd(id);
    expect(gitIn(repositoryUrl, "branch", "--list", "runyard/*")).toBe("");
    const log = await readLog(server.client, id);
    expect(log.at(-1)).toMatchObject({ type: `run.${run.status}`, data: { error: run.error } });
    return run;
  }

  async function refused(request: object): Promise<unknown> {
    const before = (await server.client.runs.list({ limit: 1 })[Symbol.asyncIterator]().next()).value as Run | undefined;
    const answer = await fetch(new URL("/v1/agent-runs", server.url), {
      method: "POST",
      headers: { authorization: `Bearer ${server.token}`, "content-type": "application/json" },
      body: JSON.stringify({ task: "Do it", ...request }),
    });
    const { code, detail } = (await answer.json()) as { code: string; detail: string };
    const after = (await server.client.runs.list({ limit: 1 })[Symbol.asyncIterator]().next()).value as Run | undefined;
    expect(after?.id).toBe(before?.id);
    return [answer.status, code, detail];
  }

  describe("repositories", () => {
    test("no repository", async () => {
      const folder = path.join(home.root, "plain folder");
      mkdirSync(folder);
      expect(await refused({ repositoryUrl: folder })).toEqual([
        422,
        "repository_not_usable",
        `${JSON.stringify(folder)} is not in a git repository: run "git init" there, and commit something`,
      ]);
    });

    test("an empty repository", async () => {
      const folder = path.join(home.root, "empty");
      execFileSync("git", ["init", "--quiet", folder]);
      expect(await refused({ repositoryUrl: folder })).toEqual([
        422,
        "repository_not_usable",
        `${folder} has no commit yet: commit something first, a run starts from a commit`,
      ]);
    });

    test("a branch that is not there", async () => {
      const repositoryUrl = repository();
      expect(await refused({ repositoryUrl, branch: "nope" })).toEqual([
        422,
        "repository_not_usable",
        `There is no branch nope in ${repositoryUrl}; there is main`,
      ]);
    });

    test("detached head, uncommitted changes, spaces and unicode in the path, a bare repository: the run works and says so", async () => {
      await endpoint.play([{ write: ["new.txt", "new\n"] }, { say: "Done." }]);
      const odd = makeRepository(home.root, { "Größe und Maß.txt": "1\n" }, "ein Ordner mit ‘Zeichen’ $x");
      gitIn(odd, "checkout", "--quiet", "--detach");
      writeFileSync(path.join(odd, "Größe und Maß.txt"), "2\n");
      const bare = path.join(home.root, "bare.git");
      execFileSync("git", ["clone", "--quiet", "--bare", repository(), bare]);
      const notices: string[][] = [];
      for (const repositoryUrl of [odd, bare]) {
        const { id } = await server.client.runs.create({ task: "Do it", repositoryUrl });
        const run = await server.client.runs.waitForEnd(id);
        expect(run).toMatchObject({ status: "completed", result: { headBranch: `runyard/${id}`, filesChanged: 1 } });
        expect(gitIn(repositoryUrl, "show", `runyard/${id}:new.txt`)).toBe("new");
        const log = await readLog(server.client, id);
        notices.push(log.flatMap((event) => (event.type === "notice" ? [event.data.message] : [])));
      }
      const commit = gitIn(odd, "rev-parse", "HEAD").slice(0, 10);
      expect(notices).toEqual([
        [
          `No branch is checked out in ${JSON.stringify(odd)} (detached head): the run starts from commit ${commit}`,
          `The working tree has files that are not committed (1 changed): the run starts from commit ${commit} and does not see them`,
        ],
        [],
      ]);
      expect(gitIn(odd, "status", "--porcelain")).toContain("M ");
    }, 60_000);
  });

  describe("agents", () => {
    test("an unknown agent", async () => {
      expect(await refused({ repositoryUrl: repository(), agent: { profile: "gpt" } })).toEqual([
        422,
        "unknown_agent",
        'There is no agent "gpt". Known agents: builtin, claude, codex, opencode, gemini; or give a command that speaks ACP.',
      ]);
    });

    test.each([
      [
        "is missing",
        "",
        ["./no-such-program"],
        "The agent's program was not found. A sandbox shows an agent its workspace, the system's directories (/usr, /bin, /lib) and Node, and nothing else of the machine: put the program into the repository, or install it below /usr. Its last words were: runyard-gateway: 11: exec: /workspace/no-such-program: not found",
      ],
      ["exits at once", "process.exit(3)", null, "The agent exited with code 3 before its turn was over."],
      [
        "prints garbage",
        "console.log('hello'); setTimeout(() => process.exit(0), 100)",
        null,
        "The agent exited with code 0 before its turn was over.",
      ],
      [
        "dies with a reason",
        "throw 'the decoy reason'",
        null,
        /^The agent exited with code 1 before its turn was over\. Its last words were: .*the decoy reason/s,
      ],
    ])(
      "a program that %s",
      async (_, program, command, message) => {
        const run = await failed({ repositoryUrl: repository({ "agent.mjs": program }), command: command ?? ["node", "agent.mjs"] });
        expect(run).toMatchObject({ status: "failed", error: { type: "agent-error" } });
        expect(run.error?.message).toEqual(typeof message === "string" ? message : expect.stringMatching(message));
      },
      60_000,
    );

    test.each([
      [
        "the repository is removed",
        (repositoryUrl: string) => rmSync(repositoryUrl, { recursive: true }),
        (repositoryUrl: string) => {
          const message = `There is no folder ${repositoryUrl} on the server's machine. The result is kept: \`runyard diff\` shows it, and \`runyard continue\` publishes again once that is solved.`;
          return { status: "completed", error: null, result: { headBranch: null, branchProblem: { code: "not-found", message } } };
        },
      ],
      [
        "its journal is emptied by somebody else",
        (_: string, dir: string) => truncateSync(path.join(dir, "steps/agent/out")),
        () => {
          const message = "The journal of the agent was changed by somebody else, so what it did is not known. Start the run again.";
          return { status: "failed", error: { type: "lost", message } };
        },
      ],
    ] as const)(
      "a program at work while %s",
      async (_, plant, end) => {
        const program = acpAgent(`
          say("working");
          const { existsSync, writeFileSync } = await import("node:fs");
          writeFileSync("note.txt", "x");
          while (!existsSync(".git/go-on")) await new Promise((resolve) => setTimeout(resolve, 20));
          say("done");`);
        const repositoryUrl = repository({ "agent.mjs": program });
        const { id } = await server.client.runs.create({ task: "Do it", repositoryUrl, agent: { command: ["node", "agent.mjs"] } });
        for await (const event of server.client.runs.events(id)) if (event.type === "message.delta") break;
        const dir = path.join(home.root, "home", "runs", id, "1");
        plant(repositoryUrl, dir);
        writeFileSync(path.join(dir, "workspace/.git/go-on"), "");
        const run = await server.client.runs.waitForEnd(id);
        expect(run).toMatchObject(end(repositoryUrl));
      },
      60_000,
    );

    test("a program that prints its 401 as text and ends its turn in peace", async () => {
      endpoint.answer = (_, response) => sendJson(response, 401, { error: { message: "the decoy key is wrong" } });
      const program = acpAgent(`
        const answer = await fetch(process.env.OPENAI_BASE_URL + "/chat/completions", { method: "POST",
          headers: { authorization: "Bearer " + process.env.OPENAI_API_KEY, "content-type": "application/json" },
          body: JSON.stringify({ model: "decoy-1", messages: [{ role: "user", content: "x" }] }) });
        say("API error: " + answer.status);`);
      const run = await failed({ repositoryUrl: repository({ "agent.mjs": program }), command: ["node", "agent.mjs"] });
      expect(run).toMatchObject({
        status: "failed",
        error: {
          type: "agent-error",
          message:
            "The model provider answered 401: it did not accept the API key. It said: the decoy key is wrong. Check the key and the base URL that Runyard uses for this model.",
        },
      });
    }, 60_000);
  });

  describe("models", () => {
    const words = "the decoy words";
    test.each([
      [
        401,
        "agent-error",
        `The model provider answered 401: it did not accept the API key. It said: ${words}. Check the key and the base URL that Runyard uses for this model.`,
      ],
      [
        403,
        "agent-error",
        `The model provider answered 403: it did not accept the API key. It said: ${words}. Check the key and the base URL that Runyard uses for this model.`,
      ],
      [
        404,
        "agent-error",
        `The model provider answered 404: the model, or the address, was not found. It said: ${words}. Check the model's name and the base URL: runyard models lists what there is.`,
      ],
      [429, "rate-limit", `The model provider answered 429: too many requests, or the quota is used up. It said: ${words}.`],
      [500, "network-error", `The model provider answered 500: ${words}.`],
    ])(
      "an endpoint that answers %d",
      async (status, type, message) => {
        // Without its own patience the agent would make seconds of each.
        endpoint.answer = (_, response) => sendJson(response.setHeader("retry-after-ms", "1"), status, { error: { message: words } });
        const run = await failed({ repositoryUrl: repository() });
        expect(run).toMatchObject({ status: "failed", error: { type } });
        expect(run.error?.message.startsWith(message)).toBe(true);
      },
      90_000,
    );

    test("an endpoint that is not there", async () => {
      await endpoint.close();
      const run = await failed({ repositoryUrl: repository() });
      expect(run).toMatchObject({ status: "failed", error: { type: "network-error" } });
      expect(run.error?.message).toContain(
        `The model provider could not be reached: The model provider at ${new URL(endpoint.url).origin} could not be reached: nothing listens there.`,
      );
      endpoint = await openEndpoint(Number(new URL(endpoint.url).port));
    }, 90_000);

    test("an endpoint that never answers: the run's own time ends it", async () => {
      endpoint.answer = () => undefined;
      const run = await failed({ repositoryUrl: repository(), timeout: 3_000 });
      expect(run).toMatchObject({
        status: "timeout",
        error: {
          type: "timeout",
          message: "The run used up its 0.1 minutes of active time. Give it more with settings.timeout (milliseconds) or --timeout.",
        },
      });
    }, 60_000);

    test("half a stream", async () => {
      endpoint.answer = (_, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "Half a sen" } }] })}\n\n`);
        setTimeout(() => response.destroy(), 20);
      };
      const run = await failed({ repositoryUrl: repository() });
      expect(run).toMatchObject({ status: "failed", error: { type: "network-error" } });
      expect(run.error?.message).toContain("The connection to the model provider broke in the middle of its answer.");
    }, 90_000);

    test("a stream that is no stream", async () => {
      endpoint.answer = (_, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.end("data: {this is not JSON\n\ndata: [DONE]\n\n");
      };
      const run = await failed({ repositoryUrl: repository() });
      expect(run).toMatchObject({ status: "failed", error: { type: "network-error" } });
      expect(run.error?.message).toContain(
        "The model provider's answer could not be used: The provider sent an event that is not a chat completion chunk.",
      );
    }, 90_000);

    test("a model that goes round in circles", async () => {
      await endpoint.play(Array.from({ length: 130 }, () => ({ read: "README.md" })));
      const run = await failed({ repositoryUrl: repository() });
      expect(run).toMatchObject({
        status: "failed",
        error: {
          type: "agent-error",
          message: "The agent reached its own limit of model calls in one turn before the task was done. Split the task.",
        },
        usage: { modelCalls: 100 },
      });
    }, 120_000);
  });

  describe("tasks", () => {
    test("of a million characters are given to the agent whole; one more is refused", async () => {
      await endpoint.play([{ say: "Read." }]);
      const task = "x".repeat(1_000_000);
      expect(await refused({ repositoryUrl: repository(), task: `${task}x` })).toEqual([
        422,
        "invalid_request",
        "task: Too big: expected string to have <=1000000 characters",
      ]);
      const { id } = await server.client.runs.create({ task, repositoryUrl: repository() });
      const run = await server.client.runs.waitForEnd(id);
      expect([run.status, run.error, run.task.length]).toEqual(["completed", null, 1_000_000]);
    }, 60_000);

    test("longer than a body may be", async () => {
      expect(await refused({ repositoryUrl: repository(), task: "x".repeat(3_000_000) })).toEqual([
        413,
        "payload_too_large",
        "The body is longer than 2097152 bytes.",
      ]);
    });
  });

  describe.skipIf(disk !== null)(disk === null ? "a full disk" : `a full disk: ${disk}`, () => {
    const full = "The disk is full. Make room and start the run again.";
    let runsDir: string;
    beforeAll(() => {
      runsDir = path.join(home.root, "home", "runs");
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", runsDir]);
    });
    afterAll(() => execFileSync("umount", ["--lazy", runsDir]));
    afterEach(() => {
      for (const name of readdirSync(runsDir)) rmSync(path.join(runsDir, name), { recursive: true });
    });

    test("before the workspace is made", async () => {
      writeFileSync(path.join(runsDir, "ballast"), Buffer.alloc(freeBytes(runsDir)));
      const run = await failed({ repositoryUrl: repository(), command: ["node", "agent.mjs"] });
      expect(run).toMatchObject({ status: "failed", error: { type: "disk-full", message: full } });
    }, 60_000);

    test("while the workspace is made", async () => {
      const big = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`big-${i}.bin`, "y".repeat(1 << 20)]));
      const run = await failed({ repositoryUrl: repository(big), command: ["node", "agent.mjs"] });
      expect(run).toMatchObject({ status: "failed", error: { type: "disk-full", message: full } });
    }, 60_000);

    test("while the agent works: its journal cannot grow", async () => {
      const program = acpAgent(`
        const { appendFileSync } = await import("node:fs");
        try { for (;;) appendFileSync("big.bin", Buffer.alloc(65536)); } catch {}
        try { for (;;) appendFileSync("big.bin", "x"); } catch {}
        for (;;) { say("y".repeat(10_000)); await new Promise((resolve) => setTimeout(resolve, 5)); }`);
      const run = await failed({ repositoryUrl: repository({ "agent.mjs": program }), command: ["node", "agent.mjs"] });
      expect(run).toMatchObject({ status: "failed", error: { type: "disk-full" } });
      expect(run.error?.message.startsWith(full)).toBe(true);
    }, 60_000);

    test("when the change is committed", async () => {
      const program = acpAgent(`
        const { writeFileSync } = await import("node:fs");
        const { randomBytes } = await import("node:crypto");
        writeFileSync("big.bin", randomBytes(5 << 20));
        say("Done.");`);
      const run = await failed({ repositoryUrl: repository({ "agent.mjs": program }), command: ["node", "agent.mjs"] });
      expect(run).toMatchObject({ status: "failed", error: { type: "disk-full", message: full } });
    }, 60_000);
  });
});

interface Endpoint {
  /** With `/v1`. */
  readonly url: string;
  answer: http.RequestListener;
  /** Answers as this script says, from now on. */
  play(script: ModelScript): Promise<void>;
  close(): Promise<void>;
}

/** A model's endpoint whose behaviour can be changed. */
async function openEndpoint(port = 0): Promise<Endpoint> {
  const models: { close(): Promise<void> }[] = [];
  const server = http.createServer((request, response) => endpoint.answer(request, response));
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const endpoint: Endpoint = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    answer: (_, response) => sendJson(response, 500, {}),
    async play(script) {
      const model = await startScriptedModel(script);
      models.push(model);
      endpoint.answer = (request, response) => {
        const { method, headers, url } = request;
        const onward = http.request(new URL(url ?? "/", model.url), { method: method ?? "GET", headers }, (answer) => {
          response.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(response);
        });
        request.pipe(onward.on("error", () => response.destroy()));
      };
    },
    async close() {
      for (const model of models.splice(0)) await model.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return endpoint;
}

function sendJson(response: http.ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

/** A small agent that speaks ACP, does `work` for a prompt and ends its turn. */
function acpAgent(work: string): string {
  return `
import { createInterface } from "node:readline";
const send = (message) => console.log(JSON.stringify({ jsonrpc: "2.0", ...message }));
const say = (text) => send({ method: "session/update", params: { sessionId: "s", update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text } } } });
createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, method } = JSON.parse(line);
  if (method === "initialize") send({ id, result: { protocolVersion: 1, agentCapabilities: {} } });
  if (method === "session/new") send({ id, result: { sessionId: "s" } });
  if (method !== "session/prompt") return;
  ${work}
  send({ id, result: { stopReason: "end_turn" } });
}).on("close", () => process.exit(0));
`;
}

/** Command lines of processes that name a directory of one of this home's runs. */
function processesOf(home: TestHome): string[] {
  const runs = path.join(home.root, "home", "runs") + path.sep;
  return processesWith(runs).map((pid) => readProc(pid, "cmdline"));
}

function freeBytes(dir: string): number {
  const { bavail, bsize } = statfsSync(dir);
  return bavail * bsize;
}

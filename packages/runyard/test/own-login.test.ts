// Real agent programs that call with logins of their own, which are made up, through the whole line to a maker on loopback.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { RunyardClient } from "@runyard/sdk";
import type { CreateRunRequest, Run, RunEvent } from "@runyard/sdk/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { logIn, madeUpLogin, type MadeUpLogin } from "../src/testing/own-logins.ts";
import { PINNED_AGENTS, realAgents, scriptedProviders } from "../src/testing/real-agents.ts";
import { type ModelScript, SCRIPTED_USAGE, type ScriptedModel, startScriptedModel } from "../src/testing/scripted-model.ts";
import { gitIn, makeRepository, makeTestHome, readLog, type TestHome, type TestServer } from "../src/testing/server.ts";

const AGENTS = await realAgents(["codex", "claude"]);
const PROVIDER_KEY = "sk-decoy-provider-key";
/** Codex has other tools for models that it knows by name, and would take one of those by itself. */
const MODEL: Readonly<Record<string, { readonly model: string }>> = { codex: { model: "scripted-1" } };

/** The files below a folder that hold a text. */
function filesWith(dir: string, text: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => readFileSync(file).includes(text));
}

for (const { name, reason } of AGENTS)
  describe.skipIf(reason !== null)(`${name}${reason === null ? "" : ` (not tested: ${reason})`}`, { timeout: 120_000 }, () => {
    const login: MadeUpLogin = madeUpLogin(name as "claude" | "codex");
    let database: TestDatabase;
    let maker: ScriptedModel;
    let provider: ScriptedModel;
    let home: TestHome;
    let userHome: string;
    let server: TestServer;
    let client: RunyardClient;
    let count = 0;

    beforeAll(async () => {
      database = await createTestDatabase();
      [maker, provider] = await Promise.all([startScriptedModel([]), startScriptedModel([])]);
      home = makeTestHome({ ...PINNED_AGENTS, ...scriptedProviders(provider), DATABASE_URL: database.connectionString });
      userHome = path.join(home.root, "user");
      home.env["HOME"] = userHome;
      logIn(userHome, login);
      writeFileSync(
        path.join(home.root, "providers.json"),
        JSON.stringify([
          { name: "claude-login", api: "anthropic", baseUrl: `${maker.root}/maker` },
          { name: "codex-login", api: "openai", baseUrl: `${maker.root}/backend-api/codex` },
        ]),
      );
      home.env["RUNYARD_HOME"] = home.root;
      await up("--max-runs", "2");
    }, 60_000);
    afterAll(async () => {
      await home?.close();
      await Promise.all([maker?.close(), provider?.close()]);
      await database?.drop();
    });

    async function up(...flags: string[]): Promise<void> {
      server = await home.up(...flags);
      ({ client } = server);
    }
    async function begin(script: ModelScript, request: Partial<CreateRunRequest> = {}): Promise<Run & { readonly repository: string }> {
      maker.play(script);
      provider.play([{ say: "The provider with the key answered." }]);
      const repositoryUrl = makeRepository(home.root, { "README.md": "# demo\n" }, `${name}-${++count}`);
      const run = await client.runs.create({
        task: "Do it",
        repositoryUrl,
        agent: { profile: name, login: "own" },
        ...MODEL[name],
        ...request,
      });
      return { ...run, repository: repositoryUrl };
    }
    const toEnd = async (id: string): Promise<{ run: Run; log: RunEvent[] }> => {
      const run = await client.runs.waitForEnd(id);
      return { run, log: await readLog(client, id) };
    };

    test("calls its maker with its own login, which nobody sees and nothing renews", async () => {
      const file = `/home/agent/${login.place}`;
      const { id, repository } = await begin([
        { run: `cat ${file}; test -w ${file}; env | grep -c decoy` },
        { write: ["hello.txt", "hello\n"] },
        { say: "It is written." },
      ]);
      const { run, log } = await toEnd(id);
      expect(run).toMatchObject({
        status: "completed",
        error: null,
        credential: "inside",
        budget: null,
        result: { summary: "It is written.", filesChanged: 1 },
        usage: { modelCalls: 3, failedModelCalls: 0, totalCost: null, unpricedCalls: 3, inputTokens: 3 * SCRIPTED_USAGE.inputTokens },
      });
      expect(gitIn(repository, "show", `runyard/${id}:hello.txt`)).toBe("hello");

      // The maker sees its own program with its own login, and nothing of Runyard's.
      expect(provider.requests).toEqual([]);
      expect(new Set(maker.requests.map((request) => request.authorization))).toEqual(new Set([`Bearer ${login.accessToken}`]));
      const paths = { claude: "/maker/v1/messages", codex: "/backend-api/codex/responses" };
      expect(new Set(maker.requests.map((request) => request.path))).toEqual(new Set([paths[name as keyof typeof paths]]));
      const sent = JSON.stringify(maker.requests);
      expect(sent).not.toContain(PROVIDER_KEY);
      expect(sent).not.toMatch(/x-runyard|ryg_/);
      for (const { headers } of maker.requests) {
        // Codex names the client that speaks to it.
        expect(headers["user-agent"]).toMatch(name === "claude" ? /^claude-cli\// : /^runyard\//);
        expect(headers["chatgpt-account-id"]).toBe(name === "codex" ? "acc-0123-made-up" : undefined);
        expect(headers["x-api-key"]).toBeUndefined();
      }

      // The agent read its login, without what renews it; the log does not show it.
      const shown = JSON.stringify(log);
      expect(shown).toContain("[login token]");
      expect(shown).not.toContain(login.accessToken);
      expect(filesWith(path.join(home.root, "gateway"), login.accessToken)).toEqual([]);
      expect(filesWith(home.root, login.refreshToken)).toEqual([path.join(userHome, login.place)]);
      expect(filesWith(path.join(home.root, "runs"), PROVIDER_KEY)).toEqual([]);
      // Nothing was made anew, and nothing is left of the copies.
      expect(readFileSync(path.join(userHome, login.place), "utf8")).toBe(login.content);
      const attempt = path.join(home.root, "runs", id, "1");
      expect([path.join(attempt, "login.json"), path.join(attempt, "home", login.place)].filter((place) => existsSync(place))).toEqual([]);

      const { stdout } = await home.cli(["show", id]);
      expect(stdout).toContain("credential: inside");
      expect(stdout).toContain("paid with the agent's own login");
    });

    test("two runs have it at the same time, and a later turn has it again", async () => {
      const script = [{ run: "sleep 1" }, { say: "Done." }];
      const first = await begin(script, { budget: { tokens: 2_000_000, advisory: true } });
      const second = await client.runs.create({
        task: "Do it",
        repositoryUrl: first.repository,
        agent: { profile: name, login: "own" },
        ...MODEL[name],
      });
      const ends = await Promise.all([toEnd(first.id), toEnd(second.id)]);
      expect(ends.map(({ run }) => [run.status, run.credential])).toEqual([
        ["completed", "inside"],
        ["completed", "inside"],
      ]);
      expect(ends[0]?.run.budget).toMatchObject({ tokens: 2_000_000, enforcement: "advisory", spentTokens: expect.any(Number) as number });

      // A replay calls nobody, so it has no login either; its agent does the same.
      const asked = maker.requests.length;
      const replay = await toEnd((await client.runs.replay(second.id)).id);
      expect(replay.run).toMatchObject({ status: "completed", credential: "gateway", replay: { divergence: null } });
      expect(maker.requests.length).toBe(asked);

      maker.play({ next: [{ say: "Went on." }] });
      await client.runs.continue(first.id, "[[next]] Go on");
      expect((await toEnd(first.id)).run).toMatchObject({
        status: "completed",
        credential: "inside",
        result: { summary: expect.stringContaining("Went on.") as string },
      });
    });

    test("one that its maker does not take ends the run, and it is said how to renew it", async () => {
      const { id } = await begin([{ fail: 401, message: "no such login" }]);
      const { run } = await toEnd(id);
      const renew = name === "claude" ? /claude, and in it \/login/ : /codex login/;
      expect(run).toMatchObject({ status: "failed", error: { message: expect.stringMatching(/answered 401.*own login/) as string } });
      expect(run.error?.message).toMatch(renew);
    });

    test("one that has expired is refused, also where that is only known when the run begins", async () => {
      // Two have all places that there are, and the third waits.
      const first = await begin([{ run: "sleep 4" }, { say: "Done." }]);
      const again = { task: "Do it", repositoryUrl: first.repository, agent: { profile: name, login: "own" }, ...MODEL[name] } as const;
      const [second, third] = [await client.runs.create(again), await client.runs.create(again)];
      expect(third.queuePosition).toBe(1);
      logIn(userHome, madeUpLogin(name as "claude" | "codex", -1_000));
      await expect(client.runs.create(again)).rejects.toMatchObject({ code: "login_not_usable", status: 422 });
      const doctor = await home.cli(["doctor"]);
      expect(doctor.stdout.replaceAll(/\s+/g, " ")).toContain("has expired");
      expect((await toEnd(third.id)).run).toMatchObject({
        status: "failed",
        error: { type: "no-model-configured", message: expect.stringContaining("has expired") as string },
        usage: { modelCalls: 0 },
      });
      // Those that have begun have what they began with.
      for (const { id } of [first, second]) expect((await toEnd(id)).run).toMatchObject({ status: "completed" });
      logIn(userHome, login);
      const { profiles } = JSON.parse((await home.cli(["agents", "--json"])).stdout) as { profiles: { name: string; login: unknown }[] };
      expect(profiles.find((one) => one.name === name)?.login).toMatchObject({ usable: expect.any(Boolean) as boolean });
    });

    test("the next server goes on with the login that the agent began with, and a simulated run needs none", async () => {
      maker.play([{ run: "sleep 3" }, { run: "true" }, { say: "Done." }]);
      const repository = makeRepository(home.root, { "README.md": "# demo\n" }, `${name}-restart`);
      const words = ["run", "Do it", "--repo", repository, "--agent", name, "--own-login", "--detach", "--json"];
      const created = await home.cli([...words, ...(MODEL[name] ? ["--model", MODEL[name].model] : [])]);
      const { id, credential } = JSON.parse(created.stdout) as Run;
      expect(credential).toBe("inside");
      await expect.poll(() => maker.requests.length, { timeout: 60_000 }).toBe(1);
      await server.kill();
      const renewed = madeUpLogin(name as "claude" | "codex", 7_200_000);
      logIn(userHome, renewed);
      await up();
      expect((await toEnd(id)).run).toMatchObject({ status: "completed", usage: { modelCalls: 3, failedModelCalls: 0 } });
      expect(new Set(maker.requests.map((request) => request.authorization))).toEqual(new Set([`Bearer ${login.accessToken}`]));
      maker.play({ next: [{ say: "Went on." }] });
      await client.runs.continue(id, "[[next]] Go on");
      await toEnd(id);
      expect(maker.requests.map((request) => request.authorization)).toEqual([`Bearer ${renewed.accessToken}`]);

      const tokens = await home.cli([...words, "--budget-tokens", "5"]);
      expect([tokens.code, tokens.stderr]).toEqual([3, expect.stringContaining("--budget-advisory")]);
      const save = ["agents", "create", "subscriber", "--profile", name, "--own-login", "--budget-tokens", "9", "--budget-advisory"];
      expect(JSON.parse((await home.cli([...save, "--json"])).stdout)).toMatchObject({
        login: "own",
        budget: { tokens: 9, advisory: true },
      });
      expect((await home.cli(["agents", "show", "subscriber"])).stdout).toContain("the agent's own, which is in its sandbox");
      expect(JSON.parse((await home.cli(["agents", "update", "subscriber", "--no-own-login", "--json"])).stdout)).toMatchObject({
        login: "gateway",
      });

      await server.kill();
      rmSync(path.join(userHome, login.place));
      await up("--simulate");
      maker.play([]);
      const simulated = await client.runs.create({ task: "Do it", repositoryUrl: repository, agent: { profile: name, login: "own" } });
      expect((await toEnd(simulated.id)).run).toMatchObject({ status: "completed", simulated: true, credential: "gateway" });
      expect([...maker.requests, ...provider.requests]).toEqual([]);
    });
  });

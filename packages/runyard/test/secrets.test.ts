// Canaries: a run is given a secret, and tells it in every way that it has. Nothing of that is found again in what
// Runyard keeps, and all of it where the same value was given as a plain variable: the control.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import path from "node:path";
import type { CreateRunRequest, Run, RunEvent } from "@runyard/sdk/contract";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { createTestDatabase } from "../src/testing/database.ts";
import { useLine } from "../src/testing/line.ts";
import { type ModelStep, startScriptedModel } from "../src/testing/scripted-model.ts";
import { gitIn, makeRepository, makeTestHome, readLog, type TestHome } from "../src/testing/server.ts";

const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const CANARY = 'cnry/7Xq+Zt9 w&=Vb3kLm8"Rp2';
/** Of characters that a header may have. */
const BARE = "hdr7Xq-Zt9w-Vb3kLm8-Rp2";
const base64 = Buffer.from(CANARY).toString("base64").replace(/=+$/, "").slice(0, -1);
const NEEDLES = {
  plain: CANARY,
  json: JSON.stringify(CANARY).slice(1, -1),
  url: encodeURIComponent(CANARY),
  base64,
  shifted: Buffer.from(`ab${CANARY}`).toString("base64").slice(3, -5),
};

/** The agent tells what it was given: as it is, in base64 and in a URL, in pieces, and in the arguments of its tools. */
const TELLS: readonly ModelStep[] = [
  {
    run: [
      'echo "plain $TOKEN"; printf %s "$TOKEN" | base64 -w 12; printf "ab%s" "$TOKEN" | base64',
      `node -e 'console.log(encodeURIComponent(process.env.TOKEN), JSON.stringify({ t: process.env.TOKEN }))'`,
      `node -e 'const t = process.env.TOKEN; process.stdout.write(t.slice(0, 9)); setTimeout(() => process.stdout.write(t.slice(9) + "\\n"), 900)'`,
      "env >&2",
    ].join("; "),
  },
  { run: `echo '${CANARY.replaceAll("'", "")}'` },
  { say: `It is ${CANARY}, or ${Buffer.from(CANARY).toString("base64")}, or ${encodeURIComponent(CANARY)}.` },
];

/** How an agent puts a secret into its result, and what is said of that. */
const LEAKS: readonly (readonly [string, string, RegExp])[] = [
  [
    "a file",
    'mkdir -p src; printf "a\\nb\\nkey=%s\\n" "$TOKEN" >src/key.txt',
    /\[secret TOKEN\] in src\/key\.txt, line 3 of the commit [0-9a-f]{10}/,
  ],
  ["a file in base64", 'printf %s "$TOKEN" | base64 >key.b64', /in key\.b64, line 1 of the commit/],
  [
    "a commit of the agent's that a later one takes back",
    'git config user.name A; git config user.email a@b.invalid; printf %s "$TOKEN" >key.txt; git add -A; git commit -qm In; git rm -q key.txt; echo x >x.txt; git add -A; git commit -qm Out',
    /in key\.txt, line 1 of the commit/,
  ],
  [
    "a commit's message",
    'git config user.name A; git config user.email a@b.invalid; echo x >x.txt; git add -A; git commit -qm "Use $TOKEN"',
    /in the message or the names of the commit/,
  ],
];

/** Sends a message in halves, with time and reports of its own between them. */
const HALVES_AGENT = String.raw`
import { createInterface } from "node:readline";
const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: "2.0", ...message }) + "\n");
const update = (fields) => send({ method: "session/update", params: { sessionId: "s1", update: fields } });
const say = (text) => update({ sessionUpdate: "agent_message_chunk", content: { type: "text", text } });
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
for await (const line of createInterface({ input: process.stdin })) {
  const { id, method } = JSON.parse(line);
  if (method === "initialize") send({ id, result: { protocolVersion: 1, agentCapabilities: {} } });
  else if (method === "session/new") send({ id, result: { sessionId: "s1" } });
  else if (method === "session/prompt") {
    const token = process.env.TOKEN;
    say("It begins: " + token.slice(0, 10));
    await wait(300);
    update({ sessionUpdate: "usage_update", used: 1, size: 2 });
    say(token.slice(10, 14));
    await wait(300);
    say(token.slice(14) + ", and ends.");
    update({ sessionUpdate: "tool_call", toolCallId: "c1", title: "Use " + token, kind: "execute", status: "in_progress", rawInput: { command: token } });
    update({ sessionUpdate: "tool_call_update", toolCallId: "c1", content: [{ type: "content", content: { type: "text", text: "out " + token.slice(0, 12) } }] });
    await wait(300);
    update({ sessionUpdate: "tool_call_update", toolCallId: "c1", status: "completed", content: [{ type: "content", content: { type: "text", text: "out " + token } }] });
    console.log("stray " + token);
    console.error("stray " + token);
    update({ sessionUpdate: "plan", entries: [{ content: "Use " + token, status: "completed", priority: "high" }] });
    say("Done with " + token);
    send({ id, result: { stopReason: "end_turn" } });
  }
}
`;

describe.skipIf(unavailable !== null)(unavailable === null ? "secrets" : `secrets cannot be tested: ${unavailable}`, () => {
  const line = useLine();
  let serial = 0;

  async function ended(
    request: Partial<CreateRunRequest>,
    files: Record<string, string> = {},
  ): Promise<{ run: Run; log: RunEvent[]; repository: string }> {
    serial += 1;
    const repository = makeRepository(line.home.root, { "README.md": "# x\n", ...files }, `repository-${serial}`);
    const { id } = await line.client.runs.create({ task: "Do it", repositoryUrl: repository, ...request });
    const run = await line.client.runs.waitForEnd(id);
    return { run, log: await readLog(line.client, id), repository };
  }

  async function inDatabase<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
    const database = new pg.Client({ connectionString: line.home.env["DATABASE_URL"] });
    await database.connect();
    try {
      return (await database.query<Row>(text, values)).rows;
    } finally {
      await database.end();
    }
  }

  /** Where the canary is found in all that Runyard keeps of a run, but for the sandbox's own files. */
  async function findings(runId: string): Promise<string[]> {
    const home = path.join(line.home.root, "home");
    const tables = await inDatabase<{ name: string }>("select tablename as name from pg_tables where schemaname = 'runyard'");
    const texts: [string, string][] = [];
    for (const { name } of tables) {
      const rows = await inDatabase<{ row: string }>(`select row_to_json(t)::text as row from runyard.${name} t`);
      const own = rows.filter(({ row }) => name !== "events" || row.includes(runId));
      texts.push([
        `table ${name}`,
        own
          .filter(({ row }) => !row.includes("run_") || row.includes(runId))
          .map(({ row }) => row)
          .join("\n"),
      ]);
    }
    for (const file of filesBelow(path.join(home, "gateway", "runs", runId)))
      texts.push([`recording ${path.basename(file)}`, readFileSync(file, "latin1")]);
    for (const file of filesBelow(path.join(home, "gateway", "runs", runId)))
      texts.push([`said in recording ${path.basename(file)}`, saidIn(readFileSync(file, "utf8"))]);
    for (const file of filesBelow(path.join(home, "logs"))) texts.push([`log ${path.basename(file)}`, readFileSync(file, "latin1")]);
    const log = await readLog(line.client, runId);
    const deltas = log.flatMap((event) => (event.type === "message.delta" ? [event.data.text] : [])).join("");
    texts.push(["events", JSON.stringify(log)], ["deltas", deltas], ["logs", (await line.home.cli(["logs", runId, "--verbose"])).stdout]);
    texts.push(["patch", await line.client.runs.patch(runId)]);
    return texts.flatMap(([place, text]) =>
      Object.entries(NEEDLES).flatMap(([how, needle]) =>
        text.includes(needle) || text.includes(JSON.stringify(needle).slice(1, -1)) ? [`${place}: ${how}`] : [],
      ),
    );
  }

  test("what a run is given is in its environment, and in nothing that is kept", async () => {
    await line.client.secrets.set({ name: "TOKEN", value: CANARY });
    await line.serve(TELLS);
    const verify = [
      { run: 'echo "$TOKEN"; printf %s "$TOKEN" | base64', kind: "build" as const },
      // What is kept of a long output begins within the secret.
      { run: 'printf %s "$TOKEN"; head -c 16380 /dev/zero | tr "\\0" x', kind: "test" as const },
    ];
    const { run, log } = await ended({ secrets: ["TOKEN"], verify });
    expect(run).toMatchObject({ status: "completed", secrets: ["TOKEN"], environment: {} });
    // The agent and what verifies had it: what it says is masked where it stood.
    const outputs = log.flatMap((event) => (event.type === "tool.finished" ? [event.data.output ?? ""] : []));
    expect(outputs[0]).toMatch(/^plain \[secret TOKEN\]\n\[secret TOKEN\]/);
    expect(outputs[0]).toContain("[secret TOKEN] ");
    expect(log.find((event) => event.type === "verify.finished")).toMatchObject({
      data: { output: expect.stringMatching(/^\[secret TOKEN\]\n/) as string },
    });
    const long = log.findLast((event) => event.type === "verify.finished");
    expect(long).toMatchObject({ data: { truncated: true, output: expect.stringMatching(/^\S{0,4}x{16380}$/) as string } });
    expect(JSON.stringify(long)).not.toContain(`${CANARY.slice(-2)}x`);
    expect(run.result?.summary).toMatch(/^It is \[secret TOKEN\], or \[secret TOKEN\]\S*, or \[secret TOKEN\]\.$/);
    expect(await findings(run.id)).toEqual([]);

    // The control: the same as a plain variable is found nearly everywhere.
    await line.serve(TELLS);
    const control = await ended({ environment: { TOKEN: CANARY }, verify });
    const found = await findings(control.run.id);
    for (const place of [
      "table runs: plain",
      "table events: plain",
      "table events: base64",
      "table events: url",
      "events: plain",
      "logs: plain",
      "recording",
      "said in recording",
    ])
      expect([place, found.some((one) => one.startsWith(place))]).toEqual([place, true]);
  }, 120_000);

  test("what is for a header is in no environment and no file of the sandbox, which trusts the gateway and may reach the host", async () => {
    await line.client.secrets.set({ name: "TOKEN", value: BARE, host: "api.invalid", header: "authorization: Bearer {value}" });
    await line.serve([
      { run: `env | grep -c -e TOKEN= -e ${BARE.slice(0, 4)}; cat "$SSL_CERT_FILE" | grep -c BEGIN; curl -sS https://api.invalid/ 2>&1` },
      { say: "Done." },
    ]);
    const { run, log } = await ended({ secrets: ["TOKEN"] });
    expect(run).toMatchObject({ status: "completed", secrets: ["TOKEN"], sandbox: { egress: ["api.invalid"] } });
    const [output = ""] = log.flatMap((event) => (event.type === "tool.finished" ? [event.data.output ?? ""] : []));
    expect(output).toMatch(/^0\n[1-9]\d*\n/);
    // It is let through to a host that there is not; what that would be told, the gateway's own tests show.
    expect(log.filter((event) => event.type === "egress.denied")).toEqual([]);
    const steps = path.join(line.home.root, "home/runs", run.id, "1/steps");
    for (const file of filesBelow(steps)) expect([file, readFileSync(file, "latin1").includes(BARE)]).toEqual([file, false]);
  }, 60_000);

  test.runIf(full)(
    "what an agent says in pieces is put together before it is told",
    async () => {
      await line.client.secrets.set({ name: "TOKEN", value: CANARY });
      await line.serve([]);
      const halves = { "agent.mjs": HALVES_AGENT };
      const agent = { command: ["node", "agent.mjs"] };
      const { run, log } = await ended({ agent, secrets: ["TOKEN"] }, halves);
      expect(run).toMatchObject({ status: "completed", result: { summary: "Done with [secret TOKEN]" } });
      const said = log.flatMap((event) => (event.type === "message.delta" ? [event.data.text] : []));
      expect(said.join("")).toBe("It begins: [secret TOKEN], and ends.Done with [secret TOKEN]");
      const outputs = log.flatMap((event) => ("data" in event && "output" in event.data ? [event.data.output] : []));
      expect(outputs.at(-1)).toBe("out [secret TOKEN]");
      for (const output of outputs.slice(0, -1)) expect("out ".startsWith(output ?? "")).toBe(true);
      expect(JSON.stringify(log)).not.toContain(CANARY.slice(0, 8));
      expect(await findings(run.id)).toEqual([]);

      const control = await ended({ agent, environment: { TOKEN: CANARY } }, halves);
      expect((await findings(control.run.id)).length).toBeGreaterThan(4);
      const plain = control.log.flatMap((event) => (event.type === "message.delta" ? [event.data.text] : []));
      expect(plain.length).toBeGreaterThan(2);
    },
    120_000,
  );

  test.each(LEAKS.slice(0, full ? LEAKS.length : 1))(
    "%s with a secret is not published",
    async (_, script, message) => {
      await line.client.secrets.set({ name: "TOKEN", value: CANARY });
      await line.serve([{ run: script }, { say: "Done." }]);
      const { run, repository } = await ended({ secrets: ["TOKEN"] });
      expect(run).toMatchObject({
        status: "failed",
        result: null,
        error: { type: "policy-violation", message: expect.stringMatching(message) as string },
      });
      expect(run.error?.message).not.toContain(CANARY);
      expect(gitIn(repository, "branch", "--list", "runyard/*")).toBe("");
      expect(await line.client.runs.patch(run.id)).toBe("");
      // Nor is it in the cache, from where it could be taken later. The control below is.
      expect(await findings(run.id)).toEqual([]);

      const control = await ended({ environment: { TOKEN: CANARY } });
      expect(control.run.status).toBe("completed");
      expect(gitIn(control.repository, "branch", "--list", "runyard/*")).toContain(control.run.id);
    },
    120_000,
  );

  test.runIf(full)(
    "where no branch is published, nothing with a secret is kept either",
    async () => {
      await line.client.secrets.set({ name: "TOKEN", value: CANARY });
      await line.serve([{ run: 'printf %s "$TOKEN" >key.txt' }, { say: "Done." }]);
      const settings = { permissions: ["repository:read" as const] };
      const { run } = await ended({ secrets: ["TOKEN"], settings });
      expect(run).toMatchObject({ status: "failed", result: null, error: { type: "policy-violation" } });
      expect(await line.client.runs.patch(run.id)).toBe("");
      expect(await findings(run.id)).toEqual([]);

      const control = await ended({ environment: { TOKEN: CANARY }, settings });
      expect(control.run).toMatchObject({ status: "completed", result: { headBranch: null, filesChanged: 1 } });
    },
    120_000,
  );

  test.runIf(full)(
    "a saved agent's secrets are given to its runs alone, and to their replays",
    async () => {
      await line.client.agents.create({ name: "keeper", secrets: ["OF_AGENT"] });
      await line.client.secrets.set({ name: "OF_AGENT", value: CANARY, agent: "keeper" });
      await line.serve([{ run: 'printf %s "$OF_AGENT" | wc -c' }, { say: "Done." }]);
      const output = `${Buffer.byteLength(CANARY)}\n`;
      const { run, log } = await ended({ agent: { name: "keeper" } });
      expect(log.find((event) => event.type === "tool.finished")).toMatchObject({ data: { output } });
      const { id } = await line.client.runs.replay(run.id);
      expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", secrets: ["OF_AGENT"] });
      expect((await readLog(line.client, id)).find((event) => event.type === "tool.finished")).toMatchObject({ data: { output } });
      await expect(ended({ secrets: ["OF_AGENT"] })).rejects.toMatchObject({ code: "unknown_secret" });
    },
    120_000,
  );

  test.runIf(full)(
    "without isolation the same is given, masked and held back",
    async () => {
      await line.client.secrets.set({ name: "TOKEN", value: CANARY });
      await line.serve([{ run: 'echo "$TOKEN"; printf %s "$TOKEN" >key.txt' }, { say: "Done." }]);
      const settings = { sandboxDriver: "process" as const };
      const { run, log, repository } = await ended({ secrets: ["TOKEN"], settings, permissionPolicy: { ask: [], deny: [] } });
      expect(log.find((event) => event.type === "tool.finished")).toMatchObject({ data: { output: "[secret TOKEN]\n" } });
      const message = expect.stringMatching(/in key\.txt, line 1 of the commit/) as string;
      expect(run).toMatchObject({ status: "failed", error: { type: "policy-violation", message } });
      expect(gitIn(repository, "branch", "--list", "runyard/*")).toBe("");
      expect(await findings(run.id)).toEqual([]);
      const steps = path.join(line.home.root, "home/runs", run.id, "1/steps");
      expect(readFileSync(path.join(steps, "agent", "cmd"), "latin1")).toContain("cnry/7Xq");
      expect(statSync(path.join(steps, "agent", "cmd")).mode & 0o077).toBe(0);
    },
    120_000,
  );

  test.runIf(full)(
    "the same run goes on once the agent has taken it out, and its files are the server's user's alone",
    async () => {
      await line.client.secrets.set({ name: "TOKEN", value: CANARY });
      await line.serve({
        first: [{ run: 'printf %s "$TOKEN" >key.txt; echo a >a.txt' }, { say: "Done." }],
        second: [{ run: "rm key.txt" }, { say: "Done." }],
      });
      const { run, repository } = await ended({ task: "[[first]]", secrets: ["TOKEN"] });
      expect(run).toMatchObject({ status: "failed", error: { type: "policy-violation" } });
      const steps = path.join(line.home.root, "home/runs", run.id, "1/steps");
      expect(readdirSync(steps).toSorted()).toEqual(["agent", "commit", "prepare"]);
      const holders = readdirSync(steps).filter((step) =>
        ["cmd", "args"].some((file) => readFileSync(path.join(steps, step, file), "latin1").includes(CANARY)),
      );
      expect(holders).toEqual(["agent"]);
      for (const file of filesBelow(path.join(steps, "agent"))) expect([file, statSync(file).mode & 0o077]).toEqual([file, 0]);
      expect(readFileSync(path.join(steps, "agent", "spec.json"), "utf8")).not.toContain(CANARY);

      await line.client.runs.continue(run.id, "[[second]] Take it out");
      const after = await line.client.runs.waitForEnd(run.id);
      expect(after).toMatchObject({ status: "completed" });
      expect(gitIn(repository, "ls-tree", "--name-only", `runyard/${run.id}`).split("\n")).toEqual(["README.md", "a.txt"]);
    },
    120_000,
  );

  test.runIf(full)(
    "a secret that is deleted while its run waits ends it, by name; one that is replaced is given as it is then",
    async () => {
      const { id: sid } = await line.client.secrets.set({ name: "GONE", value: CANARY });
      await line.client.secrets.set({ name: "NEWER", value: "first-decoy-value" });
      await line.serve([{ run: 'echo "$NEWER" | rev' }, { say: "Done." }]);
      const repository = makeRepository(line.home.root, { "README.md": "# x\n" }, "waiting");
      // It waits: nobody decides about its plan.
      await line.serve({ plan: [{ say: "The plan." }], build: [{ run: 'echo "$NEWER" | rev' }, { say: "Done." }] });
      const create = async (secrets: string[]): Promise<Run> => {
        const { id } = await line.client.runs.create({ task: "[[plan]]", repositoryUrl: repository, plan: true, secrets });
        for (;;) {
          const run = await line.client.runs.get(id);
          if (run.status === "awaiting_plan") return run;
          if (run.finishedAt !== null) throw new Error(JSON.stringify(run.error));
          await new Promise((resolve) => setTimeout(resolve, 30));
        }
      };
      const [gone, newer] = [await create(["GONE"]), await create(["NEWER"])];
      await line.client.secrets.delete(sid);
      await line.client.secrets.set({ name: "NEWER", value: "second-decoy-value" });
      await line.client.runs.confirmPlan(gone.id, { text: "[[build]]" });
      await line.client.runs.confirmPlan(newer.id, { text: "[[build]]" });
      expect(await line.client.runs.waitForEnd(gone.id)).toMatchObject({
        status: "failed",
        error: {
          type: "sandbox-unavailable",
          message:
            "The secret GONE that the run is to be given is not there any more. Store it again (runyard secrets set GONE), and start the run again.",
        },
      });
      expect(await line.client.runs.waitForEnd(newer.id)).toMatchObject({ status: "completed" });
      const log = await readLog(line.client, newer.id);
      expect(log.find((event) => event.type === "tool.finished")).toMatchObject({
        data: { output: `${"second-decoy-value".split("").toReversed().join("")}\n` },
      });
    },
    120_000,
  );

  test.runIf(full)(
    "a server that was killed goes on masking; one that lost its key says which secret it cannot read",
    async () => {
      await line.client.secrets.set({ name: "TOKEN", value: CANARY });
      const agent = { command: ["node", "agent.mjs"] };
      await line.serve([]);
      const slow = HALVES_AGENT.replaceAll("wait(300)", "wait(2500)");
      const repository = makeRepository(line.home.root, { "agent.mjs": slow }, "killed");
      const { id } = await line.client.runs.create({ task: "x", repositoryUrl: repository, agent, secrets: ["TOKEN"] });
      for await (const event of line.client.runs.events(id)) if (event.type === "agent.started") break;
      // It is in the environment of the agent, and in nobody's command line.
      expect(holdersOf("environ", CANARY).length).toBeGreaterThan(0);
      expect(holdersOf("cmdline", CANARY)).toEqual([]);
      await line.restart();
      expect(await line.client.runs.waitForEnd(id)).toMatchObject({ status: "completed", result: { summary: "Done with [secret TOKEN]" } });
      expect(await findings(id)).toEqual([]);

      // What an earlier version left in the database as it is, the next start encrypts.
      const plain = { name: "docs", url: "https://docs.test/mcp", headers: { authorization: CANARY } };
      await line.client.agents.create({ name: "old", mcpServers: [plain] });
      const definition = async (): Promise<string> =>
        (await inDatabase<{ text: string }>("select definition::text as text from runyard.agents where name = 'old'"))[0]?.text ?? "";
      const old = { ...(JSON.parse(await definition()) as object), mcpServers: [plain] };
      await inDatabase("update runyard.agents set plain_headers = true, definition = $1 where name = 'old'", [JSON.stringify(old)]);
      expect(await definition()).toContain(CANARY.slice(0, 8));
      await line.restart();
      expect(await definition()).not.toContain(CANARY.slice(0, 8));

      const keyFile = path.join(line.home.root, "home/secrets-key");
      const key = readFileSync(keyFile, "utf8");
      expect(statSync(keyFile).mode & 0o777).toBe(0o600);
      rmSync(keyFile);
      await line.restart();
      const lost = await ended({ secrets: ["TOKEN"] });
      expect(lost.run).toMatchObject({
        status: "failed",
        error: {
          type: "sandbox-unavailable",
          message: expect.stringMatching(
            /^The secret TOKEN cannot be read: it was encrypted with the key [0-9a-f]{16}, and this server has the key [0-9a-f]{16}: start it with that key/,
          ) as string,
        },
      });
      const listed = await line.home.cli(["secrets"]);
      expect(listed.stdout).toContain("not usable: this server does not have its key");
      // The key comes back by configuration.
      await line.restart({ RUNYARD_SECRETS_KEY: key.trim() });
      await line.serve([{ say: "Done." }]);
      expect((await ended({ secrets: ["TOKEN"] })).run).toMatchObject({ status: "completed" });
      writeFileSync(keyFile, key, { mode: 0o600 });
      await line.restart();
    },
    180_000,
  );

  test.runIf(full)(
    "the command stores, lists and removes secrets, and takes no value from the command line",
    async () => {
      const set = await line.home.cli(["secrets", "set", "FROM_STDIN"], { input: `${CANARY}\n` });
      expect(set).toMatchObject({ code: 0, stdout: "" });
      expect(set.stderr).toContain("Stored FROM_STDIN.");
      mkdirSync(path.join(line.home.root, "values"), { recursive: true });
      const file = path.join(line.home.root, "values/key");
      writeFileSync(file, "decoy\nof two lines\n");
      expect(await line.home.cli(["secrets", "set", "FROM_FILE", "--from-file", file, "--json"])).toMatchObject({ code: 0 });
      line.home.env["FROM_ENV"] = CANARY;
      expect(await line.home.cli(["secrets", "set", "FROM_ENV", "--env"])).toMatchObject({ code: 0 });
      delete line.home.env["FROM_ENV"];
      const unset = await line.home.cli(["secrets", "set", "FROM_ENV", "--env"]);
      expect(unset).toMatchObject({ code: 2 });
      expect(unset.stderr).toContain("FROM_ENV is not set here.");
      const listed = await line.home.cli(["secrets", "--json"]);
      expect(listed.stdout).not.toContain(CANARY);
      const { data } = JSON.parse(listed.stdout) as { data: { name: string }[] };
      expect(data.map((one) => one.name)).toEqual(expect.arrayContaining(["FROM_STDIN", "FROM_FILE", "FROM_ENV"]));
      expect(await line.home.cli(["secrets", "set", "SHORT"], { input: "short\n" })).toMatchObject({ code: 3 });
      expect(await line.home.cli(["secrets", "set", "X", CANARY])).toMatchObject({ code: 2 });
      for (const name of ["FROM_STDIN", "FROM_FILE", "FROM_ENV"])
        expect(await line.home.cli(["secrets", "rm", name])).toMatchObject({ code: 0 });
      const again = await line.home.cli(["secrets", "rm", "FROM_ENV"]);
      expect(again).toMatchObject({ code: 3 });
      expect(again.stderr).toContain("There is no secret FROM_ENV there.");
    },
    60_000,
  );
});

/** What a model says in a recorded stream, its pieces put together. */
function saidIn(recorded: string): string {
  const events = recorded.split("\n").filter((text) => text.startsWith("data: {"));
  return events
    .map((text) => (JSON.parse(text.slice(6)) as { choices?: { delta?: { content?: string } }[] }).choices?.[0]?.delta?.content ?? "")
    .join("");
}

/** Processes whose environment or command line has this text. */
function holdersOf(file: "environ" | "cmdline", text: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && Number(pid) !== process.pid && readFileSync(`/proc/${pid}/${file}`, "latin1").includes(text);
    } catch {
      return false;
    }
  });
}

function filesBelow(dir: string): string[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { withFileTypes: true, recursive: true }).flatMap((entry) =>
    entry.isFile() ? [path.join(entry.parentPath, entry.name)] : [],
  );
}

describe.skipIf(unavailable !== null || !full)("secrets of several servers on one database", () => {
  test("a runner with the key that they share gives them, one with a key of its own says which is missing", async () => {
    const database = await createTestDatabase();
    const model = await startScriptedModel([{ run: 'echo "$TOKEN" | cut -c 1-4' }, { say: "Done." }]);
    const [shared, other] = [randomBytes(32).toString("base64"), randomBytes(32).toString("hex")];
    const env = {
      DATABASE_URL: database.connectionString,
      OPENAI_BASE_URL: model.url,
      OPENAI_API_KEY: "sk-decoy-provider-key",
      RUNYARD_MODEL: "scripted-1",
    };
    const homes = [shared, shared, other].map((RUNYARD_SECRETS_KEY) => makeTestHome({ ...env, RUNYARD_SECRETS_KEY }));
    const [serving, running, stranger] = homes as [TestHome, TestHome, TestHome];
    try {
      const { client } = await serving.up("--role", "api");
      await client.secrets.set({ name: "TOKEN", value: CANARY });
      const repositoryUrl = makeRepository(serving.root, { "README.md": "# x\n" });
      const ended = async (): Promise<Run> =>
        client.runs.waitForEnd((await client.runs.create({ task: "Do it", repositoryUrl, secrets: ["TOKEN"] })).id);
      const runner = await running.up("--role", "runner");
      const run = await ended();
      expect(run).toMatchObject({ status: "completed" });
      expect((await readLog(client, run.id)).find((event) => event.type === "tool.finished")).toMatchObject({
        data: { output: `${CANARY.slice(0, 4)}\n` },
      });
      await runner.kill();
      await running.cli(["down"]);
      const { client: elsewhere } = await stranger.up("--role", "runner");
      expect((await elsewhere.secrets.list()).data).toMatchObject([{ name: "TOKEN", usable: false }]);
      expect((await client.secrets.list()).data).toMatchObject([{ name: "TOKEN", usable: true }]);
      expect(await ended()).toMatchObject({
        status: "failed",
        error: {
          type: "sandbox-unavailable",
          message: expect.stringContaining("The secret TOKEN cannot be read: it was encrypted with the key") as string,
        },
      });
    } finally {
      for (const home of homes) await home.close();
      await model.close();
      await database.drop();
    }
  }, 180_000);
});

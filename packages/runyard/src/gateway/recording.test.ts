import { mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import path from "node:path";
import { expect, test } from "vitest";
import { call, QUESTION, until } from "./testing/caller.ts";
import { newRun, useHosts } from "./testing/host.ts";
import { answerWell, beginStream, delta, DONE, FINISH, openaiAt, useProviders } from "./testing/provider.ts";

const { newHost } = useHosts();
const startProvider = useProviders();
const KEY = "sk-test-recording-123456";

test("a call that cannot be journalled is not made", async () => {
  const provider = await startProvider(answerWell);
  const host = newHost();
  const gateway = await host.open();
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "m" })]);
  const run = newRun();
  await gateway.openRun(run);
  const runs = path.join(host.home.gatewayDir, "runs");
  writeFileSync(runs, "in the way");
  const answer = await call(gateway, { token: run.token });
  expect(answer).toMatchObject({
    status: 503,
    headers: { "retry-after": "2" },
    body: expect.stringContaining("could not record this model call, so it was not made"),
  });
  expect(provider.seen).toEqual([]);
  rmSync(runs);
  expect(await call(gateway, { token: run.token })).toMatchObject({ status: 200 });
  expect(host.closes(run.runId)).toHaveLength(1);
});

test("an end that cannot be written is written as soon as that is possible; the client has its answer meanwhile", async () => {
  let stream: ServerResponse | undefined;
  const provider = await startProvider((_, response) => {
    beginStream(response);
    response.write(delta("Hello"));
    stream = response;
  });
  const host = newHost();
  const gateway = await host.open();
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "m" })]);
  const run = newRun();
  await gateway.openRun(run);
  const answer = call(gateway, { token: run.token, body: { ...QUESTION, stream: true } });
  const response = await until(() => stream, "the call");
  const journal = gateway.exchangesFile(run.runId);
  const [open] = host.lines(run.runId);
  rmSync(journal);
  mkdirSync(journal);
  response.end(FINISH + DONE);
  expect(await answer).toMatchObject({ complete: true, body: delta("Hello") + FINISH + DONE });
  expect(readFileSync(path.join(host.home.logsDir, "gateway.log"), "utf8")).toContain("will be tried again");
  rmdirSync(journal);
  await until(() => {
    try {
      return host.closes(run.runId).length === 1;
    } catch {
      return false;
    }
  }, "the end in the journal");
  expect(host.closes(run.runId)).toMatchObject([{ id: open?.id, ok: true }]);
});

test("what has come of an answer is in its recording while more is still to come", async () => {
  let stream: ServerResponse | undefined;
  const provider = await startProvider((_, response) => {
    beginStream(response);
    response.write(delta("Hello"));
    stream = response;
  });
  const host = newHost();
  const gateway = await host.open();
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "m" })]);
  const run = newRun();
  await gateway.openRun(run);
  const answer = call(gateway, { token: run.token, body: { ...QUESTION, stream: true } });
  const response = await until(() => stream, "the call");
  const file = path.join(path.dirname(gateway.exchangesFile(run.runId)), `${host.lines(run.runId)[0]?.id}.response`);
  const recorded = (): string => readFileSync(file, "utf8");
  await until(() => recorded() === delta("Hello"), "the recording");
  // Too much to be gathered, and some more.
  const long = delta("x".repeat(300_000)) + delta("again");
  response.write(long);
  await until(() => recorded() === delta("Hello") + long, "the recording of a long piece");
  response.end(FINISH + DONE);
  expect((await answer).complete).toBe(true);
  await until(() => recorded() === delta("Hello") + long + FINISH + DONE, "all of it");
});

test("a recording that cannot be written costs the recording only", async () => {
  const provider = await startProvider(answerWell);
  const host = newHost();
  const gateway = await host.open();
  await gateway.setProviders([openaiAt({ baseUrl: provider.baseUrl, apiKey: KEY, model: "m" })]);
  const run = newRun();
  await gateway.openRun(run);
  await call(gateway, { token: run.token });
  const second = host.lines(run.runId)[0]?.id.replace(/^1-/, "2-") ?? "";
  const dir = path.dirname(gateway.exchangesFile(run.runId));
  for (const name of [`${second}.request.json`, `${second}.response`]) mkdirSync(path.join(dir, name));
  expect(await call(gateway, { token: run.token, body: { ...QUESTION, stream: true } })).toMatchObject({ status: 200, complete: true });
  expect(host.closes(run.runId)).toMatchObject([{ ok: true }, { ok: true, inputTokens: 1_200 }]);
  expect(host.lines(run.runId)[2]?.id).toBe(second);
});

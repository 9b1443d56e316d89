import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { homeAt } from "../home.ts";
import { findModelServers, lookAtModel } from "./look-at-model.ts";

const home = homeAt("/nowhere/runyard");

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** A server on loopback that answers everything with this text; null: never. */
async function serve(answer: string | null): Promise<string> {
  const server = createServer((_, response) => void (answer !== null && response.end(answer)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("a model server is one that answers as such; others on its port are not taken for one", async () => {
  const place = async (name: string, answer: string | null) => ({ name, host: await serve(answer), probe: "/v1/models", field: "data" });
  const places = await Promise.all([
    place("right", '{"data":[]}'),
    place("a page", "<html>"),
    place("other JSON", '{"hello":1}'),
    place("a list", "[]"),
  ]);
  const nobody = { name: "nobody", host: "127.0.0.1:1", probe: "/", field: "data" };
  // Each of them answers, however busy the machine is; for the one that never does, any time will do.
  expect((await findModelServers([...places, nobody], 50_000)).map((found) => found.name)).toEqual(["right"]);
  expect(await findModelServers([await place("silent", null)], 50)).toEqual([]);
});

test("the environment's connection is described by its host; no key and no password is shown", async () => {
  const env = {
    OPENAI_BASE_URL: "http://user:decoy-password@127.0.0.1:9/v1",
    OPENAI_API_KEY: "sk-decoy",
    ANTHROPIC_API_KEY: "sk-decoy-2",
    CLAUDE_CODE_OAUTH_TOKEN: "sk-decoy-3",
    RUNYARD_MODEL: "m1",
  };
  const findings = await lookAtModel({ env, home, server: null, hasOwnCaller: false });
  expect(findings.find((finding) => finding.name === "connection")).toMatchObject({
    state: "ok",
    found: expect.stringContaining("openai/m1 at 127.0.0.1:9, api.anthropic.com"),
  });
  expect(findings.find((finding) => finding.name === "keys")?.found).toBe(
    "OPENAI_API_KEY, ANTHROPIC_API_KEY; not used beside them: CLAUDE_CODE_OAUTH_TOKEN",
  );
  expect(JSON.stringify(findings)).not.toContain("decoy");
});

test.each([
  [{}, "problem", "OPENAI_BASE_URL="],
  [{ OPENAI_API_KEY: "x" }, "warning", "RUNYARD_MODEL"],
  [{ OPENAI_BASE_URL: "ftp://x" }, "problem", "http or https"],
])("with %j the connection is a %s, and says what to do", async (env, state, advice) => {
  const [connection] = await lookAtModel({ env, home, server: null, hasOwnCaller: false });
  expect(connection).toMatchObject({ name: "connection", state, advice: expect.stringContaining(advice) });
});

import type { RunyardClient } from "@runyard/sdk";
import type { Run } from "@runyard/sdk/contract";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll } from "vitest";
import { createTestDatabase, type TestDatabase } from "./database.ts";
import { type ModelScript, type ScriptedModel, startScriptedModel } from "./scripted-model.ts";
import { makeTestHome, type TestHome, type TestServer } from "./server.ts";

/** The whole line for the tests of a file: a database, a home, a server in a process of its own, and its model. */
export interface Line {
  readonly home: TestHome;
  /** The server that lives. */
  readonly server: TestServer;
  readonly client: RunyardClient;
  readonly model: ScriptedModel;
  /** From now on the model answers by this script, and knows of no request before; starts the server where none lives. */
  serve(script: ModelScript): Promise<RunyardClient>;
  /** kill -9 of the server, and another one in the same home; what `env` changes, it changes for this one only. */
  restart(env?: Readonly<Record<string, string>>): Promise<void>;
  /** The run, once it waits for an answer that is not `after`. */
  waiting(id: string, after?: string): Promise<Run>;
}

export interface LineOptions {
  readonly env?: Readonly<Record<string, string>> | ((model: ScriptedModel) => Readonly<Record<string, string>>);
  /** For `runyard up`. */
  readonly flags?: readonly string[];
}

/** Sets the line up before the first test of a suite, and ends it after the last one. */
export function useLine({ env = {}, flags = [] }: LineOptions = {}): Line {
  let database: TestDatabase;
  let home: TestHome;
  let model: ScriptedModel;
  let server: TestServer | undefined;

  beforeAll(async () => {
    database = await createTestDatabase();
    model = await startScriptedModel([]);
    home = makeTestHome({
      DATABASE_URL: database.connectionString,
      OPENAI_BASE_URL: model.url,
      OPENAI_API_KEY: "sk-decoy-provider-key",
      RUNYARD_MODEL: "scripted-1",
      ...(typeof env === "function" ? env(model) : env),
    });
    server = await home.up(...flags);
  }, 120_000);
  afterAll(async () => {
    await home?.close();
    await model?.close();
    await database?.drop();
  });

  const living = (): TestServer => {
    if (server === undefined) throw new Error("no server lives");
    return server;
  };
  const line: Line = {
    get home() {
      return home;
    },
    get server() {
      return living();
    },
    get client() {
      return living().client;
    },
    get model() {
      return model;
    },
    async serve(script) {
      model.play(script);
      // One that ended with `runyard down` is dead, too.
      if (server !== undefined && !server.isAlive()) server = undefined;
      server ??= await home.up(...flags);
      return server.client;
    },
    async restart(changes = {}) {
      await server?.kill();
      const before = { ...home.env };
      Object.assign(home.env, changes);
      server = await home.up(...flags);
      for (const name of Object.keys(changes)) delete home.env[name];
      Object.assign(home.env, before);
    },
    async waiting(id, after) {
      for (;;) {
        const run = await living().client.runs.get(id);
        if (run.waitingFor.some((request) => request.id !== after)) return run;
        if (run.finishedAt !== null) throw new Error(`ended: ${JSON.stringify(run.error)}`);
        await sleep(20);
      }
    },
  };
  return line;
}

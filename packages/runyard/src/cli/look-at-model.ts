import type { ServerStatus } from "@runyard/sdk/contract";
import { existsSync } from "node:fs";
import type { ModelProvider } from "../configuration.ts";
import type { Finding } from "../doctor.ts";
import type { Home } from "../home.ts";
import { defaultModel, keysIn, providersFile, readProviders, showsKeys } from "../providers.ts";

/** Time for a local model server to answer: one that is at work has little of it, and a closed port takes none. */
const TIMEOUT_MS = 1_500;

/** A program that serves models on this machine, by the port that it usually has. */
export interface ModelPlace {
  readonly name: string;
  /** Host and port on loopback. */
  readonly host: string;
  /** A path that answers quickly with JSON. */
  readonly probe: string;
  /** A field that the answer has. */
  readonly field: string;
}

const PLACES: readonly ModelPlace[] = [
  { name: "Ollama", host: "127.0.0.1:11434", probe: "/api/version", field: "version" },
  { name: "LM Studio", host: "127.0.0.1:1234", probe: "/v1/models", field: "data" },
  { name: "llama.cpp", host: "127.0.0.1:8080", probe: "/v1/models", field: "data" },
  { name: "vLLM", host: "127.0.0.1:8000", probe: "/v1/models", field: "data" },
];

export interface LookAtModelOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly home: Home;
  /** Null where none answered. */
  readonly server: ServerStatus | null;
  /** An agent can call with a login of its own. */
  readonly hasOwnCaller: boolean;
}

/** The models that a server would be connected to, keys in the environment, and model servers on this machine. */
export async function lookAtModel(options: LookAtModelOptions): Promise<Finding[]> {
  const local = await findModelServers(PLACES);
  return [lookAtConnection(options, local), lookAtKeys(options.env), ...lookAtFile(options.home), describeLocal(local)];
}

/** Those of some places where such a program answers. */
export async function findModelServers(places: readonly ModelPlace[], timeoutMs = TIMEOUT_MS): Promise<ModelPlace[]> {
  const answers = await Promise.all(places.map((place) => isThere(place, timeoutMs)));
  return places.filter((_, index) => answers[index]);
}

async function isThere({ host, probe, field }: ModelPlace, timeoutMs: number): Promise<boolean> {
  try {
    const answer = await fetch(`http://${host}${probe}`, { signal: AbortSignal.timeout(timeoutMs), redirect: "error" });
    const body: unknown = answer.ok ? await answer.json() : null;
    return typeof body === "object" && body !== null && field in body;
  } catch {
    return false;
  }
}

/** A running server's connection counts; without one, what the next `up` from this environment would have. */
function lookAtConnection({ env, home, server, hasOwnCaller }: LookAtModelOptions, local: readonly ModelPlace[]): Finding {
  if (server?.simulated === true) return about("connection", "ok", "the running server is simulated: a scripted model, no AI");
  if (server?.model.connected === true) {
    const name = server.model.name ?? "no default model";
    const hosts = server.model.providers.map(({ host }) => host);
    return about("connection", "ok", `the running server is connected: ${name} at ${hosts.join(", ") || "an unknown place"}`);
  }
  const providers = ((): ModelProvider[] | string => {
    try {
      return readProviders(home, env);
    } catch (error) {
      return (error as Error).message;
    }
  })();
  if (typeof providers === "string") return { ...about("connection", "problem", "the providers are not usable"), advice: providers };
  if (providers.length === 0 && hasOwnCaller)
    return {
      ...about("connection", "warning", "no provider is connected: only runs with --own-login have a model"),
      advice: howToConnect(local),
    };
  if (providers.length === 0) return { ...about("connection", "problem", "no model is connected"), advice: howToConnect(local) };
  const hosts = providers.map(({ baseUrl }) => new URL(baseUrl).host).join(", ");
  if (server !== null)
    return {
      ...about("connection", "problem", `the running server has no model; this environment names ${hosts}`),
      advice: "Start it again from here: runyard down, then runyard up",
    };
  const model = defaultModel(providers);
  if (model === null)
    return {
      ...about("connection", "warning", `${hosts}, and no model is named`),
      advice: "Set RUNYARD_MODEL, or name one for each run with --model.",
    };
  return about("connection", "ok", `${model} at ${hosts}, for a server started from here`);
}

function howToConnect(local: readonly ModelPlace[]): string {
  const [first] = local;
  const baseUrl = first === undefined ? "<endpoint>/v1" : `http://${first.host}/v1`;
  const other =
    first === undefined
      ? "any OpenAI-compatible endpoint, or the key of a provider such as OPENAI_API_KEY or ANTHROPIC_API_KEY alone"
      : `${first.name} runs here`;
  return `Start the server with one (${other}): OPENAI_BASE_URL=${baseUrl} RUNYARD_MODEL=<model> runyard up`;
}

function lookAtKeys(env: NodeJS.ProcessEnv): Finding {
  const { used, unused } = keysIn(env);
  if (used.length === 0) return about("keys", "none", "none in the environment");
  const note = unused.length === 0 ? "" : `; not used beside them: ${unused.join(", ")}`;
  return about("keys", "ok", `${used.join(", ")}${note}`);
}

function lookAtFile(home: Home): Finding[] {
  const file = providersFile(home);
  if (!existsSync(file)) return [];
  try {
    if (!showsKeys(home)) return [about("providers", "ok", file)];
    return [{ ...about("providers", "warning", `others can read the keys in ${file}`), advice: `chmod 600 ${file}` }];
  } catch {
    // What is wrong with it is the connection's problem.
    return [];
  }
}

function describeLocal(local: readonly ModelPlace[]): Finding {
  if (local.length === 0) return about("local", "none", "no model server found on this machine");
  return about("local", "ok", local.map((place) => `${place.name} at http://${place.host}/v1`).join(", "));
}

function about(name: string, state: Finding["state"], found: string): Finding {
  return { area: "model", name, state, found, advice: null };
}

import type { ServerStatus } from "@runyard/sdk/contract";
import { providersFromEnvironment } from "../configuration.ts";
import type { Finding } from "../doctor.ts";

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

/** Keys that people have for models; only their names are looked at. */
const KEYS = [
  "OPENAI_API_KEY",
  "ANTHROPIC_API_KEY",
  "GEMINI_API_KEY",
  "GOOGLE_API_KEY",
  "OPENROUTER_API_KEY",
  "MISTRAL_API_KEY",
  "GROQ_API_KEY",
];

/** The model that a server would be connected to, keys in the environment, and model servers on this machine. */
export async function lookAtModel(env: NodeJS.ProcessEnv, server: ServerStatus | null): Promise<Finding[]> {
  const local = await findModelServers(PLACES);
  return [lookAtConnection(env, { server, local }), lookAtKeys(env), describeLocal(local)];
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

interface Known {
  readonly server: ServerStatus | null;
  readonly local: readonly ModelPlace[];
}

/** A running server's connection counts; without one, what the next `up` from this environment would have. */
function lookAtConnection(env: NodeJS.ProcessEnv, { server, local }: Known): Finding {
  if (server?.simulated === true) return about("connection", "ok", "the running server is simulated: a scripted model, no AI");
  if (server?.model.connected === true) {
    const name = server.model.name ?? "no default model";
    return about("connection", "ok", `the running server is connected: ${name} at ${server.model.host ?? "an unknown place"}`);
  }
  const providers = (() => {
    try {
      return providersFromEnvironment(env);
    } catch (error) {
      return (error as Error).message;
    }
  })();
  if (typeof providers === "string") return { ...about("connection", "problem", "OPENAI_BASE_URL is not usable"), advice: providers };
  const [provider] = providers;
  if (provider === undefined) return { ...about("connection", "problem", "no model is connected"), advice: howToConnect(local) };
  const host = new URL(provider.baseUrl).host;
  if (server !== null)
    return {
      ...about("connection", "problem", `the running server has no model; this environment names ${host}`),
      advice: "Start it again from here: runyard down, then runyard up",
    };
  if (provider.model === null)
    return {
      ...about("connection", "warning", `${host}, and no model is named`),
      advice: "Set RUNYARD_MODEL, or name one for each run with --model.",
    };
  return about("connection", "ok", `${provider.model} at ${host}, for a server started from here`);
}

function howToConnect(local: readonly ModelPlace[]): string {
  const [first] = local;
  const baseUrl = first === undefined ? "<endpoint>/v1" : `http://${first.host}/v1`;
  const other = first === undefined ? "any OpenAI-compatible endpoint; OPENAI_API_KEY where it needs a key" : `${first.name} runs here`;
  return `Start the server with one (${other}): OPENAI_BASE_URL=${baseUrl} RUNYARD_MODEL=<model> runyard up`;
}

function lookAtKeys(env: NodeJS.ProcessEnv): Finding {
  const there = KEYS.filter((name) => env[name]);
  if (there.length === 0) return about("keys", "none", "none in the environment");
  const unused = there.filter((name) => name !== "OPENAI_API_KEY");
  const note = unused.length === 0 ? "" : `; not used: ${unused.join(", ")}`;
  return about("keys", "ok", `${there.includes("OPENAI_API_KEY") ? "OPENAI_API_KEY is set" : "OPENAI_API_KEY is not set"}${note}`);
}

function describeLocal(local: readonly ModelPlace[]): Finding {
  if (local.length === 0) return about("local", "none", "no model server found on this machine");
  return about("local", "ok", local.map((place) => `${place.name} at http://${place.host}/v1`).join(", "));
}

function about(name: string, state: Finding["state"], found: string): Finding {
  return { area: "model", name, state, found, advice: null };
}

import type { SandboxDriverName } from "@runyard/sdk/contract";
import type { Home } from "./home.ts";

/** How one server is to run: flags and environment, merged once. */
export interface ServerConfiguration {
  readonly home: Home;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Every run gets the scripted model and is marked simulated. */
  readonly simulate: boolean;
  readonly defaultDriver: SandboxDriverName;
  /** An external PostgreSQL; null: the embedded one. */
  readonly databaseUrl: string | null;
  readonly provider: ModelProvider | null;
}

/** An OpenAI-compatible endpoint. */
export interface ModelProvider {
  readonly baseUrl: string;
  readonly apiKey: string | null;
  readonly model: string | null;
}

export const DEFAULT_PORT = 4600;
const OPENAI_BASE_URL = "https://api.openai.com/v1";

/** The model endpoint that the environment names, or null: `OPENAI_BASE_URL`, `OPENAI_API_KEY`, `RUNYARD_MODEL`. */
export function providerFromEnvironment(env: NodeJS.ProcessEnv): ModelProvider | null {
  const baseUrl = env["OPENAI_BASE_URL"] || undefined;
  const apiKey = env["OPENAI_API_KEY"] || undefined;
  if (baseUrl === undefined && apiKey === undefined) return null;
  const url = baseUrl ?? OPENAI_BASE_URL;
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
    throw new Error(`OPENAI_BASE_URL must be an http or https URL, for example http://127.0.0.1:11434/v1: got ${JSON.stringify(url)}`);
  }
  return { baseUrl: url.replace(/\/+$/, ""), apiKey: apiKey ?? null, model: env["RUNYARD_MODEL"] || null };
}

/** A port from a flag or `RUNYARD_PORT`. */
export function parsePort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new Error(`The port must be a number from 0 to 65535: got ${JSON.stringify(text)}`);
  return port;
}

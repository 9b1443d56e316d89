import { request } from "node:http";

const TIMEOUT_MS = 15_000;

/** Where an engine is asked: its unix socket, and the version of its API that both sides know (`1.41`). */
export interface EngineAddress {
  readonly socketPath: string;
  readonly apiVersion: string;
}

/** A container that a run directory may have, and who has it. */
export interface ContainerRef extends EngineAddress {
  readonly name: string;
}

/** The engine did what it was asked, or said why not: any status of HTTP. */
export interface EngineAnswer {
  readonly status: number;
  /** Undefined for an answer without JSON. */
  readonly body: unknown;
}

/** Nobody answers at the socket, or it broke off: whether the engine did what it was asked is not known. */
export class EngineAwayError extends Error {
  override readonly name = "EngineAwayError";
}

interface Question {
  readonly method: "GET" | "POST" | "DELETE";
  /** Behind the version, for example `/containers/json`. */
  readonly path: string;
  readonly body?: unknown;
  /** Null: for ever. */
  readonly timeoutMs?: number | null;
  /** Called when the engine begins to answer. */
  readonly onAnswering?: () => void;
}

type Place = Pick<EngineAddress, "socketPath"> & Partial<EngineAddress>;

export function awayError(place: Place, why: string, cause?: unknown): EngineAwayError {
  return new EngineAwayError(`The container engine at ${place.socketPath} does not answer: ${why}`, { cause });
}

/** Of a question, in the version of the API that the engine is spoken to in. */
export function pathOf({ apiVersion }: Place, path: string): string {
  return apiVersion === undefined ? path : `/v${apiVersion}${path}`;
}

/** Asks the Engine API (Docker's) once. Throws EngineAwayError. */
export function askEngine(place: Place, { method, path, body, timeoutMs = TIMEOUT_MS, onAnswering }: Question): Promise<EngineAnswer> {
  return new Promise((resolve, reject) => {
    const content = body === undefined ? "" : JSON.stringify(body);
    const asked = request({
      socketPath: place.socketPath,
      method,
      path: pathOf(place, path),
      headers: { host: "engine", "content-type": "application/json", "content-length": Buffer.byteLength(content) },
      agent: false,
      ...(timeoutMs !== null && { signal: AbortSignal.timeout(timeoutMs) }),
    });
    const fail = (error: Error): void => reject(awayError(place, error.message, error));
    asked.on("error", fail).on("response", (response) => {
      onAnswering?.();
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      response.on("error", fail).on("end", () => {
        if (!response.complete) return fail(new Error("it broke off"));
        resolve({ status: response.statusCode ?? 0, body: jsonOf(text) });
      });
    });
    asked.end(content);
  });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** What the engine says of what it did not do. */
export function complaintOf({ status, body }: EngineAnswer): string {
  const { message } = (body ?? {}) as { message?: unknown };
  return typeof message === "string" && message !== "" ? message : `it answered ${status}`;
}

/** Removes a container with all of its processes, or finds that there is none (any more). Throws EngineAwayError, or what the engine complains about. */
export async function removeContainer({ name, ...place }: ContainerRef): Promise<"removed" | "absent" | "going"> {
  const answer = await askEngine(place, { method: "DELETE", path: `/containers/${name}?force=1&v=1` });
  if (answer.status === 404) return "absent";
  if (answer.status === 409) return "going"; // somebody else removes it already
  if (answer.status >= 400) throw new Error(`The container ${name} could not be removed: ${complaintOf(answer)}`);
  return "removed";
}

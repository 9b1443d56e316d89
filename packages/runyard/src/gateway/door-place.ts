import type { IncomingMessage } from "node:http";
import { anthropicError, type ErrorShape, geminiError, openaiError } from "./error-shapes.ts";
import type { DoorAddress, QuestionFormat } from "./wire-format.ts";

/** What a request at the door asks for by its first line, and by the headers that tell whose program asks. */
export interface DoorPlace {
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** How the program that asks reads errors. */
  readonly errorBody: ErrorShape;
  /** The one of these formats whose path this is. */
  find<Format extends Pick<QuestionFormat, "doorPath">>(
    formats: readonly Format[],
  ): { readonly format: Format; readonly address: DoorAddress } | null;
}

export function placeOf({ url = "", headers }: IncomingMessage): DoorPlace {
  const [path = "", search] = url.split("?", 2);
  const query = new URLSearchParams(search);
  return {
    path,
    query,
    errorBody: shapeOf(path, headers),
    find(formats) {
      for (const format of formats) {
        const model = modelIn(path, format.doorPath);
        if (model !== undefined) return { format, address: { model, query } };
      }
      return null;
    },
  };
}

function shapeOf(path: string, headers: IncomingMessage["headers"]): ErrorShape {
  if (path.startsWith("/v1beta/")) return geminiError;
  return path.startsWith("/v1/messages") || headers["anthropic-version"] !== undefined ? anthropicError : openaiError;
}

/** The model's name in a path, null where this kind of path has none, undefined for a path of another kind. */
function modelIn(path: string, pattern: string): string | null | undefined {
  const [before = "", after] = pattern.split("{model}");
  if (after === undefined) return path === before ? null : undefined;
  const isLike = path.startsWith(before) && path.endsWith(after) && path.length > before.length + after.length;
  if (!isLike) return undefined;
  try {
    return decodeURIComponent(path.slice(before.length, -after.length));
  } catch {
    return undefined;
  }
}

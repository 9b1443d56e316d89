import type { ModelList } from "../contract/models.ts";
import { checked } from "./answers.ts";
import { pathOf } from "./paths.ts";
import type { RequestOptions, Transport } from "./transport.ts";

/** The models that runs can have. */
export interface Models {
  /** What every provider says of its models, at most some minutes old; one that does not answer has a `problem`. */
  list(options?: RequestOptions): Promise<ModelList>;
}

export function createModels(transport: Transport): Models {
  const request = { method: "GET", path: pathOf("listModels"), accept: "application/json", repeatable: true } as const;
  return {
    list: async (options) => checked(await transport.json(request, options), { data: "array", providers: "array" }) as ModelList,
  };
}

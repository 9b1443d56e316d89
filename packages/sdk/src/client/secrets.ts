import type { RouteName } from "../contract/routes.ts";
import type { ListSecretsQuery, Secret, SecretPage, SetSecretRequest } from "../contract/secrets.ts";
import { checked } from "./answers.ts";
import { listFrom } from "./list.ts";
import { type PathParams, pathOf } from "./paths.ts";
import type { ApiRequest, RequestOptions, Transport } from "./transport.ts";

/** A page of secrets to `await`, or all of them from there on to iterate over. */
export type SecretList = Promise<SecretPage> & AsyncIterable<Secret>;

/** Secrets of the token's organization: `client.secrets`. Their values go in and never come out again. */
export interface Secrets {
  /** Secrets, newest first, without their values. */
  list(query?: ListSecretsQuery, options?: RequestOptions): SecretList;

  /**
   * Stores a secret of the organization, of a repository or of a saved agent, in place of the one of this name that it
   * had. Runs that name it get it as an environment variable; with `host` and `header` the gateway puts it into that header
   * of their requests to that host instead, and they never have it. Needs `organization:admin`.
   *
   * @example
   * ```ts
   * await client.secrets.set({ name: "NPM_TOKEN", value: token });
   * await client.runs.create({ task: "Publish a pre-release", repositoryUrl: "/home/me/project", secrets: ["NPM_TOKEN"] });
   * await client.secrets.set({ name: "API_TOKEN", value: token, host: "api.example.com", header: "authorization: Bearer {value}" });
   * ```
   */
  set(secret: SetSecretRequest, options?: RequestOptions): Promise<Secret>;

  /** Deletes a secret by its id. Runs that have it keep it; those that are still to get it fail. Needs `organization:admin`. */
  delete(id: string, options?: RequestOptions): Promise<void>;
}

function request(method: "POST" | "DELETE", route: RouteName, params: PathParams = {}): ApiRequest {
  return { method, path: pathOf(route, params), accept: "application/json", repeatable: true };
}

export function createSecrets(transport: Transport): Secrets {
  return {
    list: ({ limit, cursor } = {}, options) =>
      listFrom<SecretPage, Secret>(transport, "listSecrets", { query: { limit: limit as number, cursor }, check: asSecret, options }),
    set: async (secret, options) => asSecret(await transport.json({ ...request("POST", "setSecret"), body: secret }, options)),
    delete: async (id, options) =>
      void (await transport.text({ ...request("DELETE", "deleteSecret", { sid: id }), repeatable: false }, options)),
  };
}

function asSecret(value: unknown): Secret {
  return checked(value, { id: "string", name: "string", scope: "string" }) as Secret;
}

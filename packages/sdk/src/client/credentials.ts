import type { Credential, CredentialPage, ListCredentialsQuery, SetCredentialRequest } from "../contract/credentials.ts";
import { checked } from "./answers.ts";
import { listFrom } from "./list.ts";
import { pathOf } from "./paths.ts";
import type { RequestOptions, Transport } from "./transport.ts";

/** A page of credentials to `await`, or all of them from there on to iterate over. */
export type CredentialList = Promise<CredentialPage> & AsyncIterable<Credential>;

/** What servers of repositories on other machines are shown: `client.credentials`. Values go in and never come out again. */
export interface Credentials {
  /** Credentials, newest first, without their values. */
  list(query?: ListCredentialsQuery, options?: RequestOptions): CredentialList;

  /**
   * Stores a token, an SSH key or a GitHub App for the repositories whose URL begins with `url`, in place of the one that it had. Needs
   * `organization:admin`.
   *
   * @example
   * ```ts
   * await client.credentials.set({ kind: "token", url: "https://git.example.com/acme", token });
   * await client.runs.create({ task: "Fix the failing test", repositoryUrl: "https://git.example.com/acme/app.git" });
   * ```
   */
  set(credential: SetCredentialRequest, options?: RequestOptions): Promise<Credential>;

  /** Deletes a credential by its id. Needs `organization:admin`. */
  delete(id: string, options?: RequestOptions): Promise<void>;
}

export function createCredentials(transport: Transport): Credentials {
  const accept = "application/json";
  return {
    list: ({ limit, cursor } = {}, options) =>
      listFrom<CredentialPage, Credential>(transport, "listCredentials", {
        query: { limit: limit as number, cursor },
        check: asCredential,
        options,
      }),
    set: async (body, options) =>
      asCredential(await transport.json({ method: "POST", path: pathOf("setCredential", {}), accept, repeatable: true, body }, options)),
    delete: async (id, options) =>
      void (await transport.text({ method: "DELETE", path: pathOf("deleteCredential", { cid: id }), accept, repeatable: false }, options)),
  };
}

function asCredential(value: unknown): Credential {
  return checked(value, { id: "string", url: "string", kind: "string" }) as Credential;
}

import type { AllowedHosts } from "../core/repository-hosts.ts";
import type { RemoteCredential, TokenCredential } from "../core/remote-credential.ts";
import type { RemoteUrl } from "../core/repository-url.ts";

/** How an organization reaches repositories on other machines; main makes it of the rooms that git does not import. */
export interface RemoteAccess {
  /** Whose: caches of repositories are shared by its runs, and by nobody else's. */
  readonly orgId: string;
  /** Hosts at addresses that are not public, and hosts by http. */
  readonly allowed: AllowedHosts;
  /** Certificates, in PEM, of all authorities that are trusted; null: the system's. */
  readonly trusted: string | null;
  /**
   * What is shown to the server of a repository; null: nothing. Rejects with GithubError where an app gets no token, else with
   * RunyardError `repository_not_usable`.
   */
  credentialFor(url: RemoteUrl, use: "fetch" | "push"): Promise<RemoteCredential | null>;
  /** Told of what its server refused: where another one can be had, `credentialFor` gives that from now on. */
  refused?(credential: TokenCredential): void;
  /** Keeps the keys by which the host of a credential showed itself for the first time. */
  pinHost(credentialId: string, knownHosts: string): Promise<void>;
  /** The way of one command to one host. */
  openWay(target: Pick<RemoteUrl, "protocol" | "host" | "port"> & { readonly maxBytes: number }): RemoteWay;
}

export interface RemoteWay {
  /** Of the proxy on the loopback. */
  readonly port: number;
  readonly token: string;
  /** What stood in the way. */
  readonly trouble: { readonly kind: "address-refused" | "unreachable" | "other-host" | "too-large"; readonly detail: string } | null;
  close(): void;
}

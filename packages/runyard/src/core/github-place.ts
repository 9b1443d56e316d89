/** A repository at a GitHub server, as its API is asked about it. */
export interface GithubPlace {
  /** Where its API begins, for example `https://api.github.com`. */
  readonly apiUrl: string;
  readonly owner: string;
  readonly name: string;
  /** By which its token is found, also where its git goes by SSH. */
  readonly tokenUrl: string;
}

/** What a repository's URL says of where it is. */
export interface RepositoryAddress {
  readonly protocol: "https" | "http" | "ssh";
  readonly host: string;
  readonly port: number;
  readonly segments: readonly string[];
}

const PORTS = { https: 443, http: 80 } as const;

/**
 * The repository at GitHub that a URL names, or null. `isGithub` says which hosts are GitHub servers beside GitHub's own: their
 * names do not tell, and a token is not to be shown to an API that nobody said is there.
 */
export function githubPlaceOf(url: RepositoryAddress, isGithub: (url: RepositoryAddress) => boolean): GithubPlace | null {
  const [owner, last, ...rest] = url.segments;
  if (owner === undefined || last === undefined || rest.length > 0) return null;
  const name = last.replace(/\.git$/, "");
  const server = githubServerOf(url, isGithub);
  return server && { apiUrl: server.apiUrl, owner, name, tokenUrl: `${server.origin}/${owner}/${name}` };
}

/** The GitHub server that a URL is at, whatever it names there; null: it is at none. */
export function githubServerOf(
  url: RepositoryAddress,
  isGithub: (url: RepositoryAddress) => boolean,
): { readonly apiUrl: string; readonly origin: string } | null {
  if (url.host === "github.com" || url.host === "ssh.github.com") return { apiUrl: "https://api.github.com", origin: "https://github.com" };
  if (/^[a-z0-9-]+\.ghe\.com$/.test(url.host)) return { apiUrl: `https://api.${url.host}`, origin: `https://${url.host}` };
  if (!isGithub(url)) return null;
  const protocol = url.protocol === "http" ? "http" : "https";
  const host = url.host.includes(":") ? `[${url.host}]` : url.host;
  // The port of SSH says nothing of where its API is.
  const port = url.protocol === "ssh" || url.port === PORTS[protocol] ? "" : `:${url.port}`;
  const origin = `${protocol}://${host}${port}`;
  return { apiUrl: `${origin}/api/v3`, origin };
}

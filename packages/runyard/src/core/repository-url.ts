/** A repository on another machine, by its URL. */
export interface RemoteUrl {
  /** As it is given to git and shown: always the same for the same place, and never with a password. */
  readonly href: string;
  readonly protocol: RemoteProtocol;
  /** In lower case; an address of IPv6 without its brackets. */
  readonly host: string;
  readonly port: number;
  /** The login of SSH; null: it goes by HTTP. */
  readonly user: string | null;
  /** Parts of the path. */
  readonly segments: readonly string[];
}

export type RemoteProtocol = "https" | "http" | "ssh";

const PORTS: Readonly<Record<RemoteProtocol, number>> = { https: 443, http: 80, ssh: 22 };
const MAX_CHARS = 2_048;
// oxlint-disable-next-line no-control-regex -- control characters are what it must find
const UNSEEN = /[\u0000-\u0020\u007f-\u00a0\u2028\u2029\\]/;
const USER = /^[a-z0-9_][a-z0-9_.-]{0,63}$/i;
const SEGMENT = /^[a-z0-9._~!$&()*+,;=:@%'][a-z0-9._~!$&()*+,;=:@%'-]*$/i;
const LABEL = /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/;
const FORMS = "https://host/path, ssh://user@host/path or user@host:path";

/** What to do instead of writing a secret into a URL. */
export const NO_SECRETS_IN_URLS =
  "A repository's URL must not hold a user name, password or token, because URLs are shown and logged: give it without that, and store the token with `runyard credentials add <URL> --token-stdin`. Replace the token if this one may have been seen";

/** Whether a text is meant as a URL of another machine, and not as a path or a `file:` URL of this one. */
export function isRemoteUrl(text: string): boolean {
  return !text.startsWith("/") && !/^file:/i.test(text) && (/^[a-z][a-z0-9+.-]*:/i.test(text) || text.includes("@"));
}

/**
 * The repository that a URL names, or what is wrong with the URL, as the beginning of a sentence that shows nothing of it.
 * `isPrefix`: it may name a host, or a group of repositories.
 */
export function parseRemoteUrl(text: string, { isPrefix = false } = {}): RemoteUrl | string {
  if (text.length > MAX_CHARS) return `The URL of a repository has at most ${MAX_CHARS} characters`;
  if (UNSEEN.test(text)) return "The URL of a repository must not hold spaces, backslashes or control characters";
  const [, scheme = "", rest = ""] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/i.exec(text) ?? [];
  const protocol = scheme.toLowerCase();
  if (protocol === "https" || protocol === "http" || protocol === "ssh") return parseAuthority(protocol, rest, isPrefix);
  const [, user = "", host = "", path = ""] = /^([^/@:]+)@([^/@:]+):(.*)$/.exec(text) ?? [];
  if (scheme !== "" || user === "") {
    if (/^[^/]*@/.test(rest) && /:.*@/.test(text)) return NO_SECRETS_IN_URLS;
    return `The URL of a repository must look like ${FORMS}`;
  }
  // An absolute path is the same place as in a URL with a scheme; any other begins in the login's home.
  if (path.startsWith("/")) return parseAuthority("ssh", `${user}@${host}${path}`, isPrefix);
  const parsed = parseAuthority("ssh", `${user}@${host}/${path}`, isPrefix);
  if (typeof parsed === "string") return parsed;
  if (path.includes("%")) return "The path behind user@host: must not hold percent signs";
  return { ...parsed, href: `${user}@${shownHost(parsed.host)}:${parsed.segments.join("/")}` };
}

function parseAuthority(protocol: RemoteProtocol, rest: string, isPrefix: boolean): RemoteUrl | string {
  const slash = rest.includes("/") ? rest.indexOf("/") : rest.length;
  const [authority, path] = [rest.slice(0, slash), rest.slice(slash)];
  if (/[?#]/.test(rest)) return "The URL of a repository must not hold ? or #";
  const at = authority.lastIndexOf("@");
  const user = at === -1 ? null : authority.slice(0, at);
  if (user !== null && (protocol !== "ssh" || user.includes(":"))) return NO_SECRETS_IN_URLS;
  if (protocol === "ssh" && (user === null || !USER.test(user)))
    return `The URL of a repository by SSH must name a user, as ssh://git@host/path does`;
  const place = parseHost(authority.slice(at + 1), PORTS[protocol]);
  // A password may hold a slash, which ends the host's part.
  if (place === null && protocol !== "ssh" && rest.includes("@")) return NO_SECRETS_IN_URLS;
  if (place === null) return "The URL of a repository must name a host, by its name or address, with :port where that is not the usual one";
  const segments = parsePath(path);
  if (segments === null) return "The path in the URL of a repository must not hold empty parts, dots alone, or characters that hide others";
  if (segments.length === 0 && !isPrefix) return "The URL must name a repository, with its path behind the host";
  const port = place.port === PORTS[protocol] ? "" : `:${place.port}`;
  const login = user === null ? "" : `${user}@`;
  const href = `${protocol}://${login}${shownHost(place.host)}${port}${segments.map((one) => `/${one}`).join("")}`;
  return { href, protocol, ...place, user, segments };
}

/** Null for what is no host. Names of other scripts become what is asked for in the end, which cannot be mistaken for another. */
export function parseHost(text: string, usualPort: number): { readonly host: string; readonly port: number } | null {
  const [, name = "", digits] = /^(\[[0-9a-f:.]+\]|[\p{L}\p{N}._-]+)(?::(\d{1,5}))?$/iu.exec(text) ?? [];
  const port = digits === undefined ? usualPort : Number(digits);
  if (name === "" || port < 1 || port > 65_535 || !URL.canParse(`http://${name}/`)) return null;
  const { hostname } = new URL(`http://${name}/`);
  if (hostname.startsWith("[")) return { host: hostname.slice(1, -1), port };
  return hostname.split(".").every((label) => LABEL.test(label)) ? { host: hostname, port } : null;
}

export function shownHost(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

function parsePath(path: string): string[] | null {
  const trimmed = path.replace(/^\//, "").replace(/\/$/, "");
  if (trimmed === "") return [];
  const segments = trimmed.split("/");
  return segments.every(isPlainSegment) ? segments : null;
}

/** Nothing that git, a shell, a server or a reader could take for something else. */
function isPlainSegment(segment: string): boolean {
  if (segment === "." || segment === ".." || !SEGMENT.test(segment)) return false;
  const codes = segment.match(/%../g) ?? [];
  return segment.split("%").length - 1 === codes.length && codes.every(isHarmlessCode);
}

/** A percent-encoded byte that stands for itself: no control, no space, no separator, no dot, no further percent sign. */
function isHarmlessCode(code: string): boolean {
  const byte = Number.parseInt(code.slice(1), 16);
  return /^%[0-9a-f]{2}$/i.test(code) && byte > 0x20 && ![0x23, 0x25, 0x2e, 0x2f, 0x3f, 0x40, 0x5c, 0x7f].includes(byte);
}

/** Whether a URL begins with another one, part by part; whether the last part ends in `.git` makes no difference. */
export function coversUrl(prefix: RemoteUrl, url: RemoteUrl): boolean {
  if (prefix.protocol !== url.protocol || prefix.host !== url.host || prefix.port !== url.port || prefix.user !== url.user) return false;
  return prefix.segments.every((one, index) => bare(one) === bare(url.segments[index] ?? ""));
}

function bare(segment: string): string {
  return segment.replace(/\.git$/, "");
}

/** Of those whose URL a repository's begins with, the one with the longest; null: none. */
export function longestPrefix<T extends { readonly url: string }>(candidates: readonly T[], url: RemoteUrl): T | null {
  let best: { readonly candidate: T; readonly length: number } | null = null;
  for (const candidate of candidates) {
    const prefix = parseRemoteUrl(candidate.url, { isPrefix: true });
    if (typeof prefix === "string" || !coversUrl(prefix, url)) continue;
    if (best === null || prefix.segments.length > best.length) best = { candidate, length: prefix.segments.length };
  }
  return best?.candidate ?? null;
}

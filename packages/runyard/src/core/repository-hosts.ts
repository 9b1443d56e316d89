import { parseHost, type RemoteUrl } from "./repository-url.ts";

/** Hosts that an administrator allowed, as `host`, `host:port` or `http://host:port`. */
export type AllowedHosts = readonly string[];

interface Allowed {
  readonly host: string;
  /** Null: every one. */
  readonly port: number | null;
  readonly http: boolean;
}

/** Null for what names no host. */
function parseAllowed(entry: string): Allowed | null {
  const http = /^http:\/\//i.test(entry);
  const text = http ? entry.slice("http://".length) : entry;
  const place = parseHost(text, 1);
  if (place === null) return null;
  return { host: place.host, port: /:\d+$/.test(text) ? place.port : null, http };
}

/** Whether a text can stand in the list. */
export function isAllowedHostEntry(text: string): boolean {
  return parseAllowed(text) !== null;
}

function findAllowed(allowed: AllowedHosts, { host, port }: Pick<RemoteUrl, "host" | "port">): Allowed[] {
  return allowed.flatMap((entry) => {
    const one = parseAllowed(entry);
    return one !== null && one.host === host && (one.port === null || one.port === port) ? [one] : [];
  });
}

/** Whether a host may be called at whatever address it has. */
export function isHostAllowed(allowed: AllowedHosts, target: Pick<RemoteUrl, "host" | "port">): boolean {
  return findAllowed(allowed, target).length > 0;
}

/** Why a URL is not to be called, as a sentence; null: it may be, if its address is one. What goes by http can be read, and changed, by whoever is on the way. */
export function whyNotCalled(allowed: AllowedHosts, url: RemoteUrl): string | null {
  if (url.protocol !== "http" || isLoopbackName(url.host) || findAllowed(allowed, url).some(({ http }) => http)) return null;
  return `${url.href} goes by http, which anybody on the way can read and change: use https, or allow it with RUNYARD_REPOSITORY_HOSTS=http://${url.host} for \`runyard up\``;
}

/** This machine, by a name or address that cannot be another. */
function isLoopbackName(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

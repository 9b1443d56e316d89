/**
 * The proxy for a URL by the usual variables, in upper or lower case: `HTTPS_PROXY` or `HTTP_PROXY` by the URL's scheme, else
 * `ALL_PROXY`; null where there is none, where `NO_PROXY` names the host, and for this machine itself. Throws an Error with
 * a plain sentence for one that is no http or https URL; it does not show the value, which may hold a password.
 */
export function proxyFor(address: string, env: NodeJS.ProcessEnv): string | null {
  const url = new URL(address);
  const [name, value] = firstOf(env, [url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY", "ALL_PROXY"]);
  if (value === null || isLoopback(url.hostname) || isExcepted(url, firstOf(env, ["NO_PROXY"])[1] ?? "")) return null;
  const proxy = /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`;
  if (/^https?:\/\//i.test(proxy) && URL.canParse(proxy)) return proxy;
  throw new Error(`${name} must be the http or https URL of a proxy, for example http://proxy.example.com:3128`);
}

function firstOf(env: NodeJS.ProcessEnv, names: readonly string[]): [name: string, value: string | null] {
  for (const upper of names) {
    for (const name of [upper, upper.toLowerCase()]) if (env[name]) return [name, env[name].trim()];
  }
  return [names[0] ?? "", null];
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname.endsWith(".localhost") || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

/** A list with commas or spaces: `*`, a host with everything below it (`example.com`, `.example.com`, `*.example.com`), each with a port or without. */
function isExcepted(url: URL, list: string): boolean {
  const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .some((entry) => {
      if (entry === "*") return true;
      const [, host = "", onlyPort] = /^(.*?)(?::(\d+))?$/.exec(entry.replace(/^\*?\./, "")) ?? [];
      if (onlyPort !== undefined && onlyPort !== port) return false;
      return url.hostname === host || url.hostname.endsWith(`.${host}`);
    });
}

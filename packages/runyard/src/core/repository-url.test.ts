import { describe, expect, test } from "vitest";
import { coversUrl, isRemoteUrl, longestPrefix, NO_SECRETS_IN_URLS, parseRemoteUrl, type RemoteUrl } from "./repository-url.ts";

function parsed(text: string, isPrefix = false): RemoteUrl {
  const url = parseRemoteUrl(text, { isPrefix });
  if (typeof url === "string") throw new Error(`${text}: ${url}`);
  return url;
}

describe("a repository's URL", () => {
  test.each([
    ["https://git.example.com/acme/app.git", "https://git.example.com/acme/app.git"],
    ["HTTPS://Git.Example.COM:443/acme/app/", "https://git.example.com/acme/app"],
    ["https://git.example.com:8443/a", "https://git.example.com:8443/a"],
    ["http://127.0.0.1:03000/~me/a%20b".replace("%20", "%c3%a4"), "http://127.0.0.1:3000/~me/a%c3%a4b"],
    ["https://[2001:DB8::1]:8443/a", "https://[2001:db8::1]:8443/a"],
    ["https://bücher.example/a", "https://xn--bcher-kva.example/a"],
    ["https://127.1/a", "https://127.0.0.1/a"],
    ["ssh://git@git.example.com:22/acme/app.git", "ssh://git@git.example.com/acme/app.git"],
    ["ssh://git@git.example.com:2222/~/app.git", "ssh://git@git.example.com:2222/~/app.git"],
    ["git@git.example.com:acme/app.git", "git@git.example.com:acme/app.git"],
    ["git@git.example.com:/srv/app.git", "ssh://git@git.example.com/srv/app.git"],
  ])("%s is %s", (text, href) => {
    expect(isRemoteUrl(text)).toBe(true);
    expect(parsed(text).href).toBe(href);
    expect(parsed(href).href).toBe(href);
  });

  test.each([
    "https://user@host.example/a",
    "https://user:password@host.example/a",
    "https://:token@host.example/a",
    "http://a@b@host.example/a",
    "ssh://git:password@host.example/a",
    "https://user:pass/word@host.example/a",
    "git://user:password@host.example/a",
  ])("%s holds a secret", (text) => {
    expect(parseRemoteUrl(text)).toBe(NO_SECRETS_IN_URLS);
  });

  test.each([
    ["ext::sh -c id", /spaces/],
    ["ext::sh", /must look like/],
    ["git://host.example/a", /must look like/],
    ["ftp://host.example/a", /must look like/],
    ["https:host.example/a", /must look like/],
    ["user@host.example", /must look like/],
    ["https://host.example/a\nb", /control characters/],
    ["https://host.example/a b", /spaces/],
    ["https://host.example\\@other.example/a", /backslashes/],
    [`https://host.example/${"a".repeat(3_000)}`, /at most/],
    ["https://host.example/a?token=x", /must not hold \?/],
    ["https://host.example/a#b", /must not hold \?/],
    ["https://host.example", /must name a repository/],
    ["https://host.example/", /must name a repository/],
    ["git@host.example:", /must name a repository/],
    ["https:///a", /must name a host/],
    ["https://-oProxyCommand=x/a", /must name a host/],
    ["ssh://git@-oProxyCommand/a", /must name a host/],
    ["git@-oProxyCommand:a", /must name a host/],
    ["https://host.example:0/a", /must name a host/],
    ["https://host.example:65536/a", /must name a host/],
    ["https://host.example:/a", /must name a host/],
    ["https://host.example:8x/a", /must name a host/],
    ["https://host..example/a", /must name a host/],
    ["https://host.example./a", /must name a host/],
    ["https://%68ost.example/a", /must name a host/],
    ["https://[::1/a", /must name a host/],
    ["https://[:::]/a", /must name a host/],
    ["https://1.2.3.4.5/a", /must name a host/],
    ["https://host.example/a//b", /The path/],
    ["https://host.example/../a", /The path/],
    ["https://host.example/./a", /The path/],
    ["https://host.example/-a", /The path/],
    ["https://host.example/%2e%2e/a", /The path/],
    ["https://host.example/a%0ab", /The path/],
    ["https://host.example/a%00", /The path/],
    ["https://host.example/a%2fb", /The path/],
    ["https://host.example/a%", /The path/],
    ["https://host.example/a%zz", /The path/],
    ["https://host.example/a%250a", /The path/],
    ["git@host.example:-a", /The path/],
    ["git@host.example:a%41", /percent/],
    ["ssh://host.example/a", /must name a user/],
    ["ssh://-l@host.example/a", /must name a user/],
  ])("%j is refused, and nothing of it is shown", (text, why) => {
    const problem = parseRemoteUrl(text);
    expect(problem).toMatch(why);
    if (text.length > 20) expect(problem).not.toContain(text);
  });

  test.each(["/srv/app", "./app", "app", "file:///srv/app", "FILE:/srv/app", "/srv/a@b:c"])("%s is none", (text) => {
    expect(isRemoteUrl(text)).toBe(false);
  });
});

describe("what a URL begins with", () => {
  test.each([
    ["https://git.example.com", "https://git.example.com/acme/app.git", true],
    ["https://git.example.com/acme", "https://git.example.com/acme/app.git", true],
    ["https://git.example.com/acme/app", "https://git.example.com/acme/app.git", true],
    ["https://git.example.com/acme/app.git", "https://git.example.com/acme/app", true],
    ["https://git.example.com/acm", "https://git.example.com/acme/app", false],
    ["https://git.example.com/acme/app/more", "https://git.example.com/acme/app", false],
    ["https://git.example.com:8443", "https://git.example.com/acme/app", false],
    ["http://git.example.com", "https://git.example.com/acme/app", false],
    ["https://example.com", "https://git.example.com/acme/app", false],
    ["git@git.example.com:acme", "git@git.example.com:acme/app.git", true],
    ["ssh://git@git.example.com/acme", "git@git.example.com:acme/app.git", true],
    ["ssh://other@git.example.com/acme", "git@git.example.com:acme/app.git", false],
  ])("%s and %s: %s", (prefix, url, covers) => {
    expect(coversUrl(parsed(prefix, true), parsed(url))).toBe(covers);
  });

  test("the longest counts, whatever comes first", () => {
    const urls = ["https://h.example/a/b", "https://h.example", "https://h.example/a", "https://other.example", "not one"];
    const candidates = urls.map((url) => ({ url }));
    expect(longestPrefix(candidates, parsed("https://h.example/a/b/c"))?.url).toBe("https://h.example/a/b");
    expect(longestPrefix(candidates.toReversed(), parsed("https://h.example/a/c"))?.url).toBe("https://h.example/a");
    expect(longestPrefix(candidates, parsed("https://nobody.example/a"))).toBeNull();
  });
});

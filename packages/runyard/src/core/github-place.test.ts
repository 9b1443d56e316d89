import { expect, test } from "vitest";
import { githubPlaceOf, type RepositoryAddress } from "./github-place.ts";

const address = (host: string, more: Partial<RepositoryAddress> = {}): RepositoryAddress => ({
  protocol: "https",
  host,
  port: 443,
  segments: ["acme", "app.git"],
  ...more,
});
const ssh = { protocol: "ssh", port: 22 } as const;
const isOurs = ({ host }: RepositoryAddress): boolean => host.startsWith("ghe.") || host === "::1";

test.each([
  [address("github.com"), "https://api.github.com", "https://github.com/acme/app"],
  [address("github.com", ssh), "https://api.github.com", "https://github.com/acme/app"],
  [address("ssh.github.com", { ...ssh, port: 443 }), "https://api.github.com", "https://github.com/acme/app"],
  [address("acme.ghe.com"), "https://api.acme.ghe.com", "https://acme.ghe.com/acme/app"],
  [address("ghe.acme.example"), "https://ghe.acme.example/api/v3", "https://ghe.acme.example/acme/app"],
  [address("ghe.acme.example", ssh), "https://ghe.acme.example/api/v3", "https://ghe.acme.example/acme/app"],
  [address("ghe.acme.example", { port: 8443 }), "https://ghe.acme.example:8443/api/v3", "https://ghe.acme.example:8443/acme/app"],
  [address("::1", { protocol: "http", port: 80 }), "http://[::1]/api/v3", "http://[::1]/acme/app"],
])("%j is at GitHub", (url, apiUrl, tokenUrl) => {
  expect(githubPlaceOf(url, isOurs)).toEqual({ apiUrl, tokenUrl, owner: "acme", name: "app" });
});

test.each([
  address("gitlab.com"),
  address("github.com.evil.example"),
  address("evilghe.com"),
  address("github.com", { segments: ["acme"] }),
  address("github.com", { segments: [] }),
  address("github.com", { segments: ["a", "b", "c"] }),
])("%j is not", (url) => {
  expect(githubPlaceOf(url, isOurs)).toBeNull();
});

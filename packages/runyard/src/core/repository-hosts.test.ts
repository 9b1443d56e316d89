import { expect, test } from "vitest";
import { isAllowedHostEntry, isHostAllowed, whyNotCalled } from "./repository-hosts.ts";
import { parseRemoteUrl, type RemoteUrl } from "./repository-url.ts";

const url = (text: string): RemoteUrl => parseRemoteUrl(text) as RemoteUrl;

test.each([
  ["git.internal", true],
  ["10.1.2.3:8443", true],
  ["http://build-1:3000", true],
  ["[::1]", true],
  ["https://git.internal", false],
  ["10.0.0.0/8", false],
  ["*.internal", false],
  ["", false],
])("%s names a host: %s", (entry, fits) => {
  expect(isAllowedHostEntry(entry)).toBe(fits);
});

test("an entry counts for its host, and for its port where it names one", () => {
  const allowed = ["Git.Internal", "10.1.2.3:8443", "http://build-1:3000", "[::1]:80", "nonsense/"];
  for (const place of [
    { host: "git.internal", port: 443 },
    { host: "git.internal", port: 22 },
    { host: "10.1.2.3", port: 8_443 },
    { host: "::1", port: 80 },
  ])
    expect(isHostAllowed(allowed, place)).toBe(true);
  for (const place of [
    { host: "10.1.2.3", port: 443 },
    { host: "x.git.internal", port: 443 },
    { host: "build-1", port: 80 },
  ])
    expect(isHostAllowed(allowed, place)).toBe(false);
});

test("http is for this machine, and for hosts that are allowed with it", () => {
  for (const text of ["https://git.example/a", "ssh://git@git.example/a", "http://127.0.0.1:1/a", "http://localhost/a", "http://[::1]/a"])
    expect(whyNotCalled([], url(text))).toBeNull();
  expect(whyNotCalled(["git.example"], url("http://git.example/a"))).toContain("RUNYARD_REPOSITORY_HOSTS=http://git.example");
  expect(whyNotCalled(["http://git.example"], url("http://git.example:3000/a"))).toBeNull();
  expect(whyNotCalled(["http://git.example:80"], url("http://git.example:3000/a"))).toContain("goes by http");
});

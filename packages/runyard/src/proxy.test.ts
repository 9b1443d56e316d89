import { expect, test } from "vitest";
import { proxyFor } from "./proxy.ts";

const HTTPS_PROXY = "http://proxy.example.com:3128";

test.each<[string, Record<string, string>, string | null]>([
  ["https://api.openai.com/v1", {}, null],
  ["https://api.openai.com/v1", { HTTPS_PROXY }, HTTPS_PROXY],
  ["https://api.openai.com/v1", { https_proxy: HTTPS_PROXY }, HTTPS_PROXY],
  ["https://api.openai.com/v1", { HTTPS_PROXY: "", ALL_PROXY: "proxy:1" }, "http://proxy:1"],
  ["https://api.openai.com/v1", { HTTP_PROXY: HTTPS_PROXY }, null],
  ["http://models.example.com/v1", { HTTP_PROXY: HTTPS_PROXY }, HTTPS_PROXY],
  ["http://models.example.com/v1", { HTTPS_PROXY }, null],
  ["http://127.0.0.1:11434/v1", { HTTP_PROXY: HTTPS_PROXY }, null],
  ["http://localhost:11434/v1", { HTTP_PROXY: HTTPS_PROXY }, null],
  ["https://[::1]:1234/v1", { HTTPS_PROXY }, null],
])("%s with %j goes by %s", (url, env, expected) => expect(proxyFor(url, env)).toBe(expected));

test.each([
  ["*", true],
  ["api.openai.com", true],
  ["openai.com", true],
  [".openai.com", true],
  ["*.openai.com", true],
  ["OpenAI.com", true],
  ["x, openai.com:443", true],
  ["x openai.com", true],
  ["openai.com:8443", false],
  ["ai.com", false],
  ["api.openai.com.evil", false],
  ["", false],
])("NO_PROXY=%s", (list, isExcepted) => {
  expect(proxyFor("https://api.openai.com/v1", { HTTPS_PROXY, NO_PROXY: list }) === null).toBe(isExcepted);
});

test("a proxy that is none is told without what stands there", () => {
  expect(() => proxyFor("https://x.com", { HTTPS_PROXY: "socks5://user:decoy@x" })).toThrow(
    /^HTTPS_PROXY must be the http or https URL of a proxy, for example [^ ]+$/,
  );
});

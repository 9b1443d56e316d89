import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { parseMemoryBudget, repositoryHostsFromEnvironment, secretsKeyFromEnvironment } from "./configuration.ts";

const dir = mkdtempSync(path.join(tmpdir(), "runyard-configuration-"));
afterAll(() => rmSync(dir, { recursive: true }));
const key = randomBytes(32);

test.each([
  ["base64", key.toString("base64")],
  ["base64 for URLs", key.toString("base64url")],
  ["hex", key.toString("hex")],
  ["a line of its own", ` ${key.toString("base64")}\n`],
])("the key of secrets is read in %s, from the variable and from a file", (_, text) => {
  const file = path.join(dir, "key");
  writeFileSync(file, text);
  expect(secretsKeyFromEnvironment({ RUNYARD_SECRETS_KEY: text })).toEqual(key);
  expect(secretsKeyFromEnvironment({ RUNYARD_SECRETS_KEY_FILE: file })).toEqual(key);
  expect(secretsKeyFromEnvironment({ RUNYARD_SECRETS_KEY: "", RUNYARD_SECRETS_KEY_FILE: "" })).toBeNull();
});

test("what is no key is refused with what to do, and never said back", () => {
  for (const text of ["decoy", key.toString("base64").slice(0, 40), `${key.toString("hex")}0`]) {
    const read = (): unknown => secretsKeyFromEnvironment({ RUNYARD_SECRETS_KEY: text });
    expect(read).toThrow("RUNYARD_SECRETS_KEY must hold a key of 32 bytes, in base64 (44 characters) or hex (64). Make one with");
    expect(read).not.toThrow(text);
  }
  const both = { RUNYARD_SECRETS_KEY: key.toString("hex"), RUNYARD_SECRETS_KEY_FILE: "/x" };
  expect(() => secretsKeyFromEnvironment(both)).toThrow("are both set, and only one can count");
  expect(() => secretsKeyFromEnvironment({ RUNYARD_SECRETS_KEY_FILE: path.join(dir, "none") })).toThrow("cannot be read");
});

test("hosts of repositories are names or addresses, with a port or with http:// where that is meant", () => {
  const read = (text: string): string[] => repositoryHostsFromEnvironment({ RUNYARD_REPOSITORY_HOSTS: text });
  expect([read(""), read(" git.internal ,10.1.2.3:8443,, http://build-1:3000")]).toEqual([
    [],
    ["git.internal", "10.1.2.3:8443", "http://build-1:3000"],
  ]);
  for (const wrong of ["10.0.0.0/8", "*.internal", "https://git.internal", "a:b"])
    expect(() => read(`git.internal,${wrong}`)).toThrow(`got ${JSON.stringify(wrong)}`);
});

test("a memory budget is a number of gigabytes, in bytes", () => {
  expect([parseMemoryBudget("16"), parseMemoryBudget("0.5")]).toEqual([16 * 1024 ** 3, 512 * 1024 ** 2]);
  for (const word of ["", "0", "-1", "16G", "1e3", "NaN", "1,5"])
    expect(() => parseMemoryBudget(word)).toThrow(`The memory budget must be a number of gigabytes above 0: got ${JSON.stringify(word)}`);
});

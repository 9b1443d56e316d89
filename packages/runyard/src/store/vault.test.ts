import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { createVault, WrongKeyError } from "./vault.ts";

const AS = ["org_a", "secret", "TOKEN"] as const;

test("what is sealed opens again, with the same key and in its own place only", () => {
  const key = randomBytes(32);
  const vault = createVault(key);
  const sealed = vault.seal("the décoy value\n", AS);
  expect(createVault(key).open(sealed, AS)).toBe("the décoy value\n");
  expect(sealed.bytes.includes("coy value")).toBe(false);
  // The same text is another one each time.
  expect(vault.seal("the décoy value\n", AS).bytes.equals(sealed.bytes)).toBe(false);
  for (const as of [
    ["org_b", "secret", "TOKEN"],
    ["org_a", "secret", "OTHER"],
    ["org_a", "secretTOKEN"],
  ] as const)
    expect(() => vault.open(sealed, as)).toThrow("belongs to something else");
  const changed = Buffer.from(sealed.bytes);
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  expect(() => vault.open({ ...sealed, bytes: changed }, AS)).toThrow("was changed");
  expect(() => vault.open({ ...sealed, bytes: sealed.bytes.subarray(0, 20) }, AS)).toThrow("was changed");
});

test("another key is told apart, by an id that says nothing of the key, with what to do", () => {
  const [one, other] = [createVault(randomBytes(32)), createVault(randomBytes(32))];
  const sealed = one.seal("the decoy value", AS);
  expect(() => other.open(sealed, AS)).toThrow(WrongKeyError);
  expect(() => other.open(sealed, AS)).toThrow(
    `it was encrypted with the key ${one.keyId}, and this server has the key ${other.keyId}: start it with that key`,
  );
  // Whoever only claims to have the key does not open it.
  expect(() => other.open({ ...sealed, keyId: other.keyId }, AS)).toThrow("belongs to something else");
  expect(one.keyId).toMatch(/^[0-9a-f]{16}$/);
  expect(() => createVault(randomBytes(16))).toThrow("32 bytes");
});

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { fingerprintOf, parseSigningKey } from "./signing-key.ts";

const dir = mkdtempSync(path.join(tmpdir(), "runyard-key-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const isThere = spawnSync("ssh-keygen", ["-?"]).error === undefined;

/** A new private key as ssh-keygen writes it, and its file. */
function newKey(name: string, ...words: string[]): { readonly file: string; readonly text: string } {
  const file = path.join(dir, name);
  execFileSync("ssh-keygen", ["-q", "-C", "a comment", "-f", file, "-N", "", ...words]);
  return { file, text: readFileSync(file, "utf8") };
}

const problemOf = (text: string): string => {
  try {
    parseSigningKey(text);
  } catch (error) {
    return (error as Error).message;
  }
  return "none";
};

test.skipIf(!isThere)("a key is read as ssh-keygen reads it, and what it signs ssh-keygen verifies (needs ssh-keygen)", () => {
  const { file, text } = newKey("whole", "-t", "ed25519");
  const key = parseSigningKey(`\n${text}\n`);
  const [type = "", blob = ""] = readFileSync(`${file}.pub`, "utf8").split(" ");
  expect(key.publicKey).toBe(`${type} ${blob}`);
  expect(execFileSync("ssh-keygen", ["-l", "-f", file], { encoding: "utf8" })).toContain(key.fingerprint);
  expect(fingerprintOf(key.publicKey)).toBe(key.fingerprint);
  const content = Buffer.from([0, 255, 10, 13, 65]);
  const signature = key.sign(content);
  expect(key.sign(content)).toBe(signature);
  writeFileSync(`${file}.sig`, signature);
  writeFileSync(`${file}.signers`, `bot@x namespaces="git" ${key.publicKey}\n`);
  const verify = (input: Buffer): number | null =>
    spawnSync("ssh-keygen", ["-Y", "verify", "-f", `${file}.signers`, "-I", "bot@x", "-n", "git", "-s", `${file}.sig`], { input }).status;
  expect(verify(content)).toBe(0);
  expect(verify(Buffer.from("other"))).not.toBe(0);
});

test.skipIf(!isThere)("what is no such key is said, without a part of it (needs ssh-keygen)", () => {
  const { text } = newKey("other", "-t", "ed25519");
  const body = text.split("\n").slice(1, -2).join("");
  const armoured = (bytes: Buffer): string =>
    `-----BEGIN OPENSSH PRIVATE KEY-----\n${bytes.toString("base64")}\n-----END OPENSSH PRIVATE KEY-----\n`;
  const bytes = Buffer.from(body, "base64");
  expect(problemOf(armoured(bytes))).toBe("none");
  expect(problemOf("hunter2")).toBe("is no private key in the format of OpenSSH");
  expect(problemOf(readFileSync(path.join(dir, "other.pub"), "utf8"))).toBe("is no private key in the format of OpenSSH");
  expect(problemOf(armoured(Buffer.from("something else")))).toBe("is cut off");
  expect(problemOf(armoured(bytes.subarray(0, 100)))).toBe("is cut off");
  expect(problemOf(newKey("rsa", "-t", "rsa", "-b", "2048").text)).toMatch(/^is of the type ssh-rsa: make one/);
  const locked = path.join(dir, "locked");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-f", locked, "-N", "a passphrase"]);
  expect(problemOf(readFileSync(locked, "utf8"))).toMatch(/^has a passphrase/);
  // One bit of the seed: the public key is another one then.
  const damaged = Buffer.from(bytes);
  const seed = damaged.indexOf(Buffer.from([0, 0, 0, 64])) + 4;
  damaged[seed] = (damaged[seed] ?? 0) ^ 1;
  expect(problemOf(armoured(damaged))).toBe("is damaged");
});

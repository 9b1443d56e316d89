import { expect, test } from "vitest";
import { whyNoKnownHosts, whyNoPrivateKey } from "./remote-credential.ts";

const pem = (kind: string, body: string): string => `-----BEGIN ${kind}PRIVATE KEY-----\n${body}\n-----END ${kind}PRIVATE KEY-----\n`;
const PLAIN = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZWQyNTUx";
const LOCKED = "b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABDxl";

test.each([
  [pem("OPENSSH ", PLAIN), null],
  [pem("OPENSSH ", `${PLAIN.slice(0, 40)}\n${PLAIN.slice(40)}`).replaceAll("\n", "\r\n"), null],
  [pem("RSA ", "MIIEpAIBAAKCAQEA"), null],
  [pem("", "MIIEpAIBAAKCAQEA"), null],
  [pem("OPENSSH ", LOCKED), /passphrase/],
  [pem("ENCRYPTED ", "MIIFHDBOBgkqhkiG"), /passphrase/],
  [pem("RSA ", "Proc-Type: 4,ENCRYPTED\n\nabc"), /passphrase/],
  ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me@here", /public key/],
  ["-----BEGIN OPENSSH PRIVATE KEY-----", /no private key/],
  ["hello", /no private key/],
] as const)("a private key: %j", (text, why) => {
  if (why === null) expect(whyNoPrivateKey(text)).toBeNull();
  else expect(whyNoPrivateKey(text)).toMatch(why);
});

test.each([
  ["git.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA\n", true],
  ["# git.example\n[git.example]:2222,10.0.0.1 ecdsa-sha2-nistp256 AAAA= comment\n\n@revoked * ssh-rsa AAAA\n", true],
  ["@cert-authority *.example ssh-ed25519 AAAA", true],
  ["", false],
  ["# nothing\n", false],
  ["git.example ssh-ed25519\n", false],
  ["-----BEGIN OPENSSH PRIVATE KEY-----\n", false],
])("lines of known_hosts: %j, %s", (text, fits) => {
  expect(whyNoKnownHosts(text) === null).toBe(fits);
});

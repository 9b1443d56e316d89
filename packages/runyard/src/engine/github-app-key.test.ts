import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { whyNoAppKey } from "./github-app-key.ts";

const rsa = generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey;
const pem = (key: typeof rsa, type: "pkcs1" | "pkcs8" | "sec1"): string => key.export({ type, format: "pem" }).toString();

test("a key as GitHub gives it is taken in both forms of PEM, with the ends of lines of any system", () => {
  for (const key of [pem(rsa, "pkcs1"), pem(rsa, "pkcs8"), pem(rsa, "pkcs1").replaceAll("\n", "\r\n"), pem(rsa, "pkcs8").trim()])
    expect(whyNoAppKey(key)).toBeNull();
});

const elliptic = generateKeyPairSync("ec", { namedCurve: "P-256" });
const short = generateKeyPairSync("rsa", { modulusLength: 1_024 }).privateKey;
test.each([
  ["an EC key", pem(elliptic.privateKey, "pkcs8"), /of the kind ec, and GitHub Apps sign with RSA only/],
  ["an EC key in its own form", pem(elliptic.privateKey, "sec1"), /of the kind ec/],
  ["an Ed25519 key", pem(generateKeyPairSync("ed25519").privateKey, "pkcs8"), /of the kind ed25519/],
  ["a short one", pem(short, "pkcs1"), /of 1024 bits/],
  ["a public key", elliptic.publicKey.export({ type: "spki", format: "pem" }).toString(), /public key/],
  [
    "one with a passphrase",
    rsa.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "x" }).toString(),
    /passphrase.*as GitHub gave it/,
  ],
  ["a part of one", pem(rsa, "pkcs1").split("\n").toSpliced(3, 9).join("\n"), /cannot be read as a private key/],
  ["no PEM", rsa.export({ type: "pkcs1", format: "der" }).toString("base64"), /no private key/],
  ["nothing", " ", /no private key/],
])("%s is refused, and nothing of it is repeated", (_, text, why) => {
  const said = whyNoAppKey(text) ?? "";
  expect(said).toMatch(why);
  for (const line of text.split("\n").filter((one) => one.length > 20 && !one.startsWith("-"))) expect(said).not.toContain(line);
});

import { createPrivateKey, type KeyObject } from "node:crypto";
import { whyNoPrivateKey } from "../core/remote-credential.ts";

/** GitHub's own keys have 2,048. */
const LEAST_BITS = 2_048;

/** Why a text is no private key of a GitHub App (RSA in PEM, as PKCS#1 or PKCS#8), as a sentence; null: it is one. */
export function whyNoAppKey(text: string): string | null {
  if (/-----BEGIN (RSA )?PUBLIC KEY-----/.test(text)) return "It is a public key: give the private one, the .pem file that GitHub gave";
  const why = whyNoPrivateKey(text);
  // Its words about a passphrase are of SSH's keys.
  if (why !== null && /passphrase/.test(why))
    return "The key has a passphrase, which nobody could type when it is used: give the .pem file as GitHub gave it";
  if (why !== null) return why;
  const key = readKey(text);
  if (key === null) return "It cannot be read as a private key: give the .pem file as GitHub gave it, whole";
  if (key.asymmetricKeyType !== "rsa")
    return `It is a key of the kind ${String(key.asymmetricKeyType)}, and GitHub Apps sign with RSA only: make one in the app's settings`;
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  return bits < LEAST_BITS ? `It is an RSA key of ${bits} bits, and GitHub's have ${LEAST_BITS}: make one in the app's settings` : null;
}

/** Null: it is none. What was wrong with it could show a part of it. */
function readKey(text: string): KeyObject | null {
  try {
    return createPrivateKey(text);
  } catch {
    return null;
  }
}

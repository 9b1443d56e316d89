import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign } from "node:crypto";
import type { Database } from "./database.ts";
import { type Sealed, type SealedAs, type Vault, VaultError } from "./vault.ts";

const ARMOUR = /^-----BEGIN OPENSSH PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)-----END OPENSSH PRIVATE KEY-----\s*$/;
const MAGIC = "openssh-key-v1\0";
const TYPE = "ssh-ed25519";
const LINE_CHARS = 70;

/** A key that signs commits, and what others may know of it. */
export interface SigningKey {
  /** As `allowed_signers` and hosts of repositories take it: `ssh-ed25519 AAAA…`. */
  readonly publicKey: string;
  /** `SHA256:…`, as ssh-keygen says it. */
  readonly fingerprint: string;
  /** Signs as `ssh-keygen -Y sign -n git` does, in armour. The same content always has the same signature. */
  sign(content: Buffer): string;
}

/** What a text is instead of a key that can be used, as half a sentence. */
export class KeyFormatError extends Error {
  override readonly name = "KeyFormatError";
}

/** Reads a private key as ssh-keygen writes it: Ed25519, without a passphrase. Throws KeyFormatError, which holds nothing of it. */
export function parseSigningKey(text: string): SigningKey {
  const armoured = ARMOUR.exec(text.trim());
  if (armoured === null) throw new KeyFormatError("is no private key in the format of OpenSSH");
  const { key, publicBlob } = readKey(Buffer.from(armoured[1] ?? "", "base64"));
  return {
    publicKey: `${TYPE} ${publicBlob.toString("base64")}`,
    fingerprint: `SHA256:${createHash("sha256").update(publicBlob).digest("base64").replace(/=+$/, "")}`,
    sign: (content) => signature(key, publicBlob, content),
  };
}

/** Reads what a length stands before, one after the other. */
function reader(bytes: Buffer): { take(count: number): Buffer; number(): number; string(): Buffer } {
  let at = 0;
  const take = (count: number): Buffer => {
    if (count > bytes.length - at) throw new KeyFormatError("is cut off");
    return bytes.subarray(at, (at += count));
  };
  const number = (): number => take(4).readUInt32BE();
  return { take, number, string: () => take(number()) };
}

function readKey(bytes: Buffer): { readonly key: KeyObject; readonly publicBlob: Buffer } {
  const outer = reader(bytes);
  if (outer.take(MAGIC.length).toString("latin1") !== MAGIC) throw new KeyFormatError("is no private key in the format of OpenSSH");
  const cipher = outer.string().toString("latin1");
  outer.string();
  outer.string();
  if (cipher !== "none") throw new KeyFormatError("has a passphrase: give one without, made for this alone");
  if (outer.number() !== 1) throw new KeyFormatError("must be one key");
  const publicBlob = outer.string();
  const inner = reader(outer.string());
  if (inner.number() !== inner.number()) throw new KeyFormatError("is damaged");
  const type = inner.string().toString("latin1");
  if (type !== TYPE)
    throw new KeyFormatError(`is of the type ${type.replaceAll(/[^\w@.-]/g, "?").slice(0, 40)}: make one with ssh-keygen -t ed25519`);
  const [x, both] = [inner.string(), inner.string()];
  const jwk = { kty: "OKP", crv: "Ed25519", x: x.toString("base64url"), d: both.subarray(0, 32).toString("base64url") };
  try {
    const key = createPrivateKey({ key: jwk, format: "jwk" });
    const isWhole =
      createPublicKey(key).export({ format: "jwk" }).x === jwk.x && publicBlob.equals(Buffer.concat([string(TYPE), string(x)]));
    if (isWhole) return { key, publicBlob };
  } catch (cause) {
    throw new KeyFormatError("is damaged", { cause });
  }
  throw new KeyFormatError("is damaged");
}

function string(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content as string);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** The format is that of OpenSSH's PROTOCOL.sshsig, in the namespace of git. */
function signature(key: KeyObject, publicBlob: Buffer, content: Buffer): string {
  const about = [string("git"), string(""), string("sha512")];
  const signed = Buffer.concat([Buffer.from("SSHSIG"), ...about, string(createHash("sha512").update(content).digest())]);
  const made = Buffer.concat([string(TYPE), string(sign(null, signed, key))]);
  const version = Buffer.from([0, 0, 0, 1]);
  const blob = Buffer.concat([Buffer.from("SSHSIG"), version, string(publicBlob), ...about, string(made)]).toString("base64");
  const lines = blob.match(new RegExp(`.{1,${LINE_CHARS}}`, "g")) ?? [];
  return `-----BEGIN SSH SIGNATURE-----\n${lines.join("\n")}\n-----END SSH SIGNATURE-----\n`;
}

function sealedAs(orgId: string): SealedAs {
  return [orgId, "signing key"];
}

/** A key as the database has it. */
export interface StoredSigningKey {
  readonly publicKey: string;
  readonly sealed: Sealed;
}

/** Encrypts a key for its organization. Throws KeyFormatError. */
export function sealSigningKey(vault: Vault, orgId: string, text: string): StoredSigningKey {
  return { publicKey: parseSigningKey(text).publicKey, sealed: vault.seal(text, sealedAs(orgId)) };
}

/** The key that signs commits of an organization's runs; null: none does. Throws VaultError where it cannot be read. */
export async function findSigningKey(db: Database, vault: Vault, orgId: string): Promise<SigningKey | null> {
  const rows = await db.queryInOrganization<{ key_id: string | null; sealed: Buffer | null }>(
    orgId,
    "select signing_key_id as key_id, signing_sealed as sealed from runyard.organizations where org_id = runyard.current_org()",
    [],
  );
  const [found] = rows;
  if (found === undefined || found.key_id === null || found.sealed === null) return null;
  try {
    return parseSigningKey(vault.open({ keyId: found.key_id, bytes: found.sealed }, sealedAs(orgId)));
  } catch (error) {
    throw error instanceof KeyFormatError ? new VaultError(`it ${error.message}`, { cause: error }) : error;
  }
}

/** The fingerprint of a public key. */
export function fingerprintOf(publicKey: string): string {
  const blob = Buffer.from(publicKey.split(" ")[1] ?? "", "base64");
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}

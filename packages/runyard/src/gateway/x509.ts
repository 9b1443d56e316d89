import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from "node:crypto";

/**
 * Makes certificates: an authority, and what it vouches for. Node.js makes keys and signs, and has nothing that writes a
 * certificate; the form is RFC 5280's, in DER. Nothing is read here but by Node.js itself.
 */

/** A certificate with its key. */
export interface Certified {
  /** PEM. */
  readonly certificate: string;
  /** PKCS #8, PEM. */
  readonly key: string;
}

const DAY_MS = 86_400_000;
/** Clocks differ. */
const BACKDATED_MS = DAY_MS;

/** A new authority, which vouches for servers and for no further authorities. */
export function makeAuthority(name: string, options: { readonly days: number; readonly nowMs?: number }): Certified {
  const keys = newKeys();
  const subject = nameOf(name);
  const extensions = [
    extension(OID.basicConstraints, true, sequence(TRUE, integer(Buffer.from([0])))),
    // keyCertSign and cRLSign.
    extension(OID.keyUsage, true, bits(Buffer.from([0x06]), 1)),
    extension(OID.subjectKeyIdentifier, false, octets(keyIdOf(keys.publicKey))),
  ];
  return certified(keys, { subject, issuer: subject, issuerKey: keys.privateKey, extensions, ...options });
}

/** A certificate for a server of this name, by an authority. */
export function makeServerCertificate(
  authority: Certified,
  host: string,
  options: { readonly days: number; readonly nowMs?: number },
): Certified {
  const keys = newKeys();
  const issuerKey = createPrivateKey(authority.key);
  const extensions = [
    extension(OID.basicConstraints, true, sequence()),
    // digitalSignature.
    extension(OID.keyUsage, true, bits(Buffer.from([0x80]), 7)),
    extension(OID.extendedKeyUsage, false, sequence(oid(OID.serverAuth))),
    // dNSName.
    extension(OID.subjectAltName, false, sequence(tlv(0x82, Buffer.from(host, "ascii")))),
    extension(OID.subjectKeyIdentifier, false, octets(keyIdOf(keys.publicKey))),
    extension(OID.authorityKeyIdentifier, false, sequence(tlv(0x80, keyIdOf(createPublicKey(issuerKey))))),
  ];
  const issuer = nameOf(commonNameOf(authority.certificate));
  return certified(keys, { subject: nameOf("Runyard gateway"), issuer, issuerKey, extensions, ...options });
}

interface Content {
  readonly subject: Buffer;
  readonly issuer: Buffer;
  readonly issuerKey: KeyObject;
  readonly extensions: readonly Buffer[];
  readonly days: number;
  readonly nowMs?: number;
}

function certified(
  { publicKey, privateKey }: Keys,
  { subject, issuer, issuerKey, extensions, days, nowMs = Date.now() }: Content,
): Certified {
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const serial = randomBytes(16);
  // Positive, and as long as it seems.
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  const body = sequence(
    // Version 3.
    tlv(0xa0, integer(Buffer.from([2]))),
    integer(serial),
    algorithm,
    issuer,
    sequence(time(nowMs - BACKDATED_MS), time(nowMs + days * DAY_MS)),
    subject,
    publicKey.export({ type: "spki", format: "der" }),
    tlv(0xa3, sequence(...extensions)),
  );
  const certificate = sequence(body, algorithm, bits(sign("sha256", body, issuerKey)));
  const lines = certificate.toString("base64").match(/.{1,64}/g) ?? [];
  return {
    certificate: `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

interface Keys {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

function newKeys(): Keys {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

function keyIdOf(key: KeyObject): Buffer {
  return createHash("sha256")
    .update(key.export({ type: "spki", format: "der" }))
    .digest()
    .subarray(0, 20);
}

function commonNameOf(certificate: string): string {
  return /^CN=(.*)$/m.exec(new X509Certificate(certificate).subject)?.[1] ?? "";
}

const OID = {
  commonName: "55 04 03",
  ecdsaWithSha256: "2a 86 48 ce 3d 04 03 02",
  basicConstraints: "55 1d 13",
  keyUsage: "55 1d 0f",
  extendedKeyUsage: "55 1d 25",
  serverAuth: "2b 06 01 05 05 07 03 01",
  subjectAltName: "55 1d 11",
  subjectKeyIdentifier: "55 1d 0e",
  authorityKeyIdentifier: "55 1d 23",
} as const;

const TRUE = Buffer.from([0x01, 0x01, 0xff]);

/** A value in DER: its tag, its length, its content. */
function tlv(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const long = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...long]), content]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tlv(0x30, Buffer.concat(parts));
}

function integer(bytes: Buffer): Buffer {
  return tlv(0x02, bytes);
}

function octets(bytes: Buffer): Buffer {
  return tlv(0x04, bytes);
}

function bits(bytes: Buffer, unused = 0): Buffer {
  return tlv(0x03, Buffer.concat([Buffer.from([unused]), bytes]));
}

function oid(hex: string): Buffer {
  return tlv(0x06, Buffer.from(hex.replaceAll(" ", ""), "hex"));
}

function extension(id: string, critical: boolean, content: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [TRUE] : []), octets(content));
}

function nameOf(commonName: string): Buffer {
  return sequence(tlv(0x31, sequence(oid(OID.commonName), tlv(0x0c, Buffer.from(commonName, "utf8")))));
}

/** With two digits of the year up to 2049, as the RFC has it. */
function time(ms: number): Buffer {
  const text = `${new Date(ms).toISOString().slice(0, 19).replaceAll(/[-:T]/g, "")}Z`;
  return Number(text.slice(0, 4)) < 2050 ? tlv(0x17, Buffer.from(text.slice(2))) : tlv(0x18, Buffer.from(text));
}

import { createHash, X509Certificate } from "node:crypto";
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import tls from "node:tls";
import { makePrivateDir } from "../home.ts";
import { type Certified, makeAuthority } from "./x509.ts";

/**
 * The authority of a home, by which the gateway shows itself to programs in sandboxes in the place of the hosts that get
 * a header put in. Its key stays in the home; sandboxes that need it are shown a bundle with its certificate.
 */
export interface HomeAuthority extends Certified {
  /** In PEM, whom the gateway trusts: the system's authorities and those that were configured. */
  readonly trusted: string;
  /** The file that sandboxes are shown: the system's authorities, and this one. */
  readonly bundleFile: string;
}

const DAYS = 3_650;
/** One that ends within this time is replaced. Runs that were begun with the old one keep it. */
const RENEWED_MS = 90 * 86_400_000;

/** Where systems have the authorities that they trust, all in one file. */
const SYSTEM_BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/** Makes the authority in this directory, where there is none yet. `extra` are further certificates that the gateway trusts, in PEM. */
export function homeAuthority(dir: string, extra: string | null): HomeAuthority {
  makePrivateDir(dir);
  const own = ownAuthority(path.join(dir, "authority.pem"));
  return {
    ...own,
    trusted: trustedWith(extra),
    bundleFile: bundleWith(dir, `${systemBundle()}\n${own.certificate}`),
  };
}

function ownAuthority(file: string): Certified {
  if (existsSync(file)) {
    if ((statSync(file).mode & 0o077) !== 0)
      throw new Error(`Others can read ${file}, the key of an authority that sandboxes trust: remove it, and a new one is made.`);
    const found = parsed(readFileSync(file, "utf8"));
    if (found === null) throw new Error(`${file} holds no certificate with its key. Remove it, and a new one is made.`);
    if (Date.parse(new X509Certificate(found.certificate).validTo) - Date.now() > RENEWED_MS) return found;
  }
  const made = makeAuthority("Runyard gateway", { days: DAYS });
  writeWhole(file, made.certificate + made.key, 0o600);
  return made;
}

function parsed(text: string): Certified | null {
  const [certificate] = /-----BEGIN CERTIFICATE-----[^]+?-----END CERTIFICATE-----\n/.exec(text) ?? [];
  const [key] = /-----BEGIN PRIVATE KEY-----[^]+?-----END PRIVATE KEY-----\n/.exec(text) ?? [];
  return certificate === undefined || key === undefined ? null : { certificate, key };
}

/** Whom the system trusts, and further certificates, in PEM. */
export function trustedWith(extra: string | null): string {
  return [systemBundle(), extra].filter((text) => text !== null).join("\n");
}

function systemBundle(): string {
  const file = SYSTEM_BUNDLES.find((one) => existsSync(one));
  return file === undefined ? tls.rootCertificates.join("\n") : readFileSync(file, "utf8");
}

/** By its content: a file that a sandbox is shown never changes. */
function bundleWith(dir: string, text: string): string {
  const file = path.join(dir, `bundle-${createHash("sha256").update(text).digest("hex").slice(0, 16)}.pem`);
  if (!existsSync(file)) writeWhole(file, text, 0o644);
  return file;
}

function writeWhole(file: string, text: string, mode: number): void {
  writeFileSync(`${file}.new`, text, { mode, flush: true });
  renameSync(`${file}.new`, file);
}

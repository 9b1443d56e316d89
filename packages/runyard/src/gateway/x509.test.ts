// Certificates of our own making, looked at by others: OpenSSL's strict check, and a handshake.
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import tls from "node:tls";
import { expect, test } from "vitest";
import { makeAuthority, makeServerCertificate } from "./x509.ts";

const OPENSSL = "openssl";
const DAY_MS = 86_400_000;
const hasOpenssl = ((): boolean => {
  try {
    execFileSync(OPENSSL, ["version"]);
    return true;
  } catch {
    return false;
  }
})();

test("an authority and its servers are what they say, and a handshake goes by them", async () => {
  const authority = makeAuthority("Runyard test", { days: 3650 });
  const server = makeServerCertificate(authority, "a.example", { days: 30 });
  const [root, leaf] = [authority, server].map(({ certificate }) => new X509Certificate(certificate)) as [X509Certificate, X509Certificate];
  expect([root.ca, leaf.ca, root.subject]).toEqual([true, false, "CN=Runyard test"]);
  expect([leaf.checkIssued(root), leaf.verify(root.publicKey), leaf.checkHost("a.example"), leaf.checkHost("b.example")]).toEqual([
    true,
    true,
    "a.example",
    undefined,
  ]);
  expect(Date.parse(leaf.validTo) - Date.now()).toBeGreaterThan(29 * DAY_MS);

  const listening = tls.createServer({ cert: server.certificate, key: server.key }, (socket) => socket.end("hello"));
  await once(listening.listen(0, "127.0.0.1"), "listening");
  const { port } = listening.address() as AddressInfo;
  try {
    const connect = (servername: string, ca: string): Promise<unknown> =>
      once(tls.connect({ port, host: "127.0.0.1", servername, ca }), "secureConnect");
    await connect("a.example", authority.certificate);
    await expect(connect("b.example", authority.certificate)).rejects.toMatchObject({ code: "ERR_TLS_CERT_ALTNAME_INVALID" });
    await expect(connect("a.example", makeAuthority("Runyard test", { days: 1 }).certificate)).rejects.toThrow(/certificate/);
  } finally {
    listening.close();
  }
});

test("a year beyond 2049 is written in full", () => {
  const { certificate } = makeAuthority("far", { days: 10, nowMs: Date.UTC(2060, 0, 2) });
  expect(new X509Certificate(certificate).validTo).toContain("2060");
});

test.skipIf(!hasOpenssl)("OpenSSL finds nothing to object to, by its strict rules", () => {
  const dir = mkdtempSync(path.join(tmpdir(), "ry-x509-"));
  try {
    const authority = makeAuthority("Runyard test", { days: 3650 });
    const host = `${"a".repeat(60)}.${"b".repeat(60)}.${"c".repeat(60)}.example`;
    writeFileSync(path.join(dir, "ca.pem"), authority.certificate);
    writeFileSync(path.join(dir, "leaf.pem"), makeServerCertificate(authority, host, { days: 30 }).certificate);
    const said = execFileSync(
      OPENSSL,
      ["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", host, "-CAfile", "ca.pem", "leaf.pem"],
      {
        cwd: dir,
        encoding: "utf8",
      },
    );
    expect(said).toBe("leaf.pem: OK\n");
  } finally {
    rmSync(dir, { recursive: true });
  }
});

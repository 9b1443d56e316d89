import { X509Certificate } from "node:crypto";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { homeAuthority } from "./authority.ts";
import { makeAuthority } from "./x509.ts";

let dir: string;
let file: string;
beforeEach(() => {
  dir = path.join(mkdtempSync(path.join(tmpdir(), "ry-authority-")), "authority");
  file = path.join(dir, "authority.pem");
});
afterEach(() => rmSync(path.dirname(dir), { recursive: true, force: true }));

test("it is made once, its key is for its user alone, and sandboxes are shown a file without it", () => {
  const first = homeAuthority(dir, null);
  expect(homeAuthority(dir, null)).toEqual(first);
  expect([statSync(dir).mode & 0o777, statSync(file).mode & 0o777]).toEqual([0o700, 0o600]);
  const bundle = readFileSync(first.bundleFile, "utf8");
  expect(bundle).toContain(first.certificate);
  expect(bundle).not.toContain("PRIVATE KEY");
  // The system's own authorities are in it, and are whom the gateway trusts: itself it does not.
  expect(bundle.split("BEGIN CERTIFICATE").length).toBeGreaterThan(10);
  expect(bundle).toContain(first.trusted.trim().slice(-200));
  expect(first.trusted).not.toContain(first.certificate);
  const { certificate: extra } = makeAuthority("extra", { days: 1 });
  expect(homeAuthority(dir, extra)).toMatchObject({ bundleFile: first.bundleFile, trusted: expect.stringContaining(extra) as string });
  expect(readdirSync(dir).toSorted()).toEqual(["authority.pem", path.basename(first.bundleFile)]);
});

test("one that is about to end is replaced, and what a living sandbox was shown of it stays", () => {
  const first = homeAuthority(dir, null);
  const old = makeAuthority("Runyard gateway", { days: 30 });
  writeFileSync(file, old.certificate + old.key);
  const next = homeAuthority(dir, null);
  expect(Date.parse(new X509Certificate(next.certificate).validTo) - Date.now()).toBeGreaterThan(3_000 * 86_400_000);
  expect(next.bundleFile).not.toBe(first.bundleFile);
  expect(existsSync(first.bundleFile)).toBe(true);
});

test("a file that others can read, or that holds none, is refused with what to do", () => {
  homeAuthority(dir, null);
  chmodSync(file, 0o640);
  expect(() => homeAuthority(dir, null)).toThrow(
    `Others can read ${file}, the key of an authority that sandboxes trust: remove it, and a new one is made.`,
  );
  chmodSync(file, 0o600);
  writeFileSync(file, "garbage");
  expect(() => homeAuthority(dir, null)).toThrow(`${file} holds no certificate with its key. Remove it, and a new one is made.`);
});

import { timingSafeEqual } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

/**
 * Digests of the tokens of living runs, on disk: one small file for each run. When both the gateway and
 * the server were killed, agents go on and call before the new server has told the new gateway about
 * them. "Not authorised" would make them give up; with the digest the gateway knows to say "try again".
 * The digest opens nothing.
 */
export interface ExpectedTokens {
  add(runId: string, digest: Buffer): void;
  remove(runId: string): void;
  has(digest: Buffer): boolean;
}

export function openExpectedTokens(gatewayDir: string): ExpectedTokens {
  const dir = path.join(gatewayDir, "expected");
  mkdirSync(dir, { recursive: true });
  return {
    add: (runId, digest) => writeFileSync(path.join(dir, runId), digest.toString("hex"), { mode: 0o600 }),
    remove: (runId) => rmSync(path.join(dir, runId), { force: true }),
    has: (digest) => readdirSync(dir).filter((runId) => isDigestIn(path.join(dir, runId), digest)).length > 0,
  };
}

function isDigestIn(file: string, digest: Buffer): boolean {
  try {
    const known = Buffer.from(readFileSync(file, "utf8"), "hex");
    return known.length === digest.length && timingSafeEqual(known, digest);
  } catch {
    return false;
  }
}

import { createHash, randomBytes } from "node:crypto";
import { type Scope, SCOPES } from "@runyard/sdk/contract";
import type { Database } from "../store/database.ts";
import { ensureAdministrator, findToken } from "../store/identities.ts";
import { limitRuns } from "../store/run-counts.ts";
import { newId } from "./ids.ts";

/** Who makes a request: a token of an organization, with its scopes. */
export interface Principal {
  readonly orgId: string;
  readonly tokenId: string;
  readonly userId: string;
  readonly scopes: readonly Scope[];
}

/** The organization that a first start makes. */
const HOME_ORGANIZATION = { orgId: "org_home", orgName: "Home", userId: "user_admin", userName: "admin" };

/** Only the hash of a token is stored. Tokens are long and random, so that a plain hash is enough. */
export function hashToken(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

const PREFIXES = { api: "ry", link: "ryl", session: "rys" } as const;

/** A new secret: 256 random bits behind a prefix that says what it is for. */
export function newToken(kind: keyof typeof PREFIXES = "api"): string {
  return `${PREFIXES[kind]}_${randomBytes(32).toString("base64url")}`;
}

/** The holder of a bearer token, or null. */
export async function authenticate(db: Database, bearer: string): Promise<Principal | null> {
  return (await findToken(db, hashToken(bearer))) ?? null;
}

/** Makes sure that the home organization exists and that `token` is its administrator's; safe to repeat. */
export async function registerAdministrator(db: Database, token: string): Promise<void> {
  await ensureAdministrator(db, { ...HOME_ORGANIZATION, tokenId: newId("token"), tokenHash: hashToken(token), scopes: SCOPES });
}

/** Sets how many runs of the home organization are at work at a time. */
export async function limitHomeRuns(db: Database, limit: number): Promise<void> {
  await limitRuns(db, HOME_ORGANIZATION.orgId, limit);
}

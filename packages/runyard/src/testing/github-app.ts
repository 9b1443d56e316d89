import { createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { type FakeRoute, Refusal } from "./github.ts";

/** A token that the fake gave to an app. */
export interface FakeAppToken {
  readonly token: string;
  readonly repositories: readonly string[];
  readonly permissions: Readonly<Record<string, string>>;
  readonly expiresAtMs: number;
}

/** A GitHub App, and its one installation. What is not readonly may be changed at any time. */
export interface FakeApp {
  readonly id: number;
  readonly clientId: string;
  /** In PEM, as PKCS#1, which is what GitHub gives. */
  readonly privateKey: string;
  isInstalled: boolean;
  isSuspended: boolean;
  permissions: Record<string, string>;
  /** How far its clock is ahead of this machine's, in milliseconds. */
  aheadMs: number;
  /** How long its tokens live, in milliseconds. */
  lifeMs: number;
  /** All that it gave, in order. */
  readonly tokens: FakeAppToken[];
  /** Refuses who may not do what the line says. */
  admit(line: string, who: { readonly shown: string | undefined; readonly repository: string }): void;
  /** Whether git may do that with a token; null: it is none, or none any more. */
  admitsGit(token: string, what: { readonly name: string; readonly writes: boolean }): boolean | null;
  readonly routes: readonly FakeRoute[];
}

/** What GitHub wants of a token for each route (Permissions required for GitHub Apps). */
const RIGHTS: readonly (readonly [pattern: RegExp, rights: Readonly<Record<string, string>>])[] = [
  [/^GET .*\/pulls(\/\d+)?$/, { pull_requests: "read" }],
  [/^(POST|PATCH) .*\/(pulls(\/\d+)?|issues\/\d+\/labels|requested_reviewers)$/, { pull_requests: "write" }],
  [/^GET .*\/check-runs(\/\d+\/annotations)?$/, { checks: "read" }],
  [/^GET .*\/status$/, { statuses: "read" }],
  [/^GET .*\/logs$/, { actions: "read" }],
  // Of what GraphQL does here: drafts.
  [/^POST \/graphql$/, { contents: "write", pull_requests: "write" }],
];

let keys: { readonly publicKey: string; readonly privateKey: string } | null = null;

export function fakeApp(more: Partial<Pick<FakeApp, "permissions" | "lifeMs">> = {}): FakeApp {
  keys ??= generateKeyPairSync("rsa", {
    modulusLength: 2_048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs1", format: "pem" },
  });
  const { publicKey, privateKey } = keys;
  const INSTALLATION = 41;
  let given = 0;
  const now = (): number => Date.now() + app.aheadMs;
  const refused = (message: string): Refusal => new Refusal(401, message, { headers: { date: new Date(now()).toUTCString() } });
  const allows = (token: FakeAppToken, rights: Readonly<Record<string, string>>): boolean =>
    Object.entries(rights).every(([name, level]) => token.permissions[name] === level || token.permissions[name] === "write");
  const living = (token: string | undefined): FakeAppToken | undefined =>
    app.isInstalled && !app.isSuspended ? app.tokens.find((one) => one.token === token && one.expiresAtMs > now()) : undefined;

  function admitApp(shown: string | undefined): void {
    const [head = "", body = "", signature = ""] = (shown ?? "").split(".");
    const key = createPublicKey(publicKey);
    const isSigned = verify("RSA-SHA256", Buffer.from(`${head}.${body}`), key, Buffer.from(signature, "base64url"));
    if (!isSigned) throw refused("A JSON web token could not be decoded");
    const { alg } = JSON.parse(Buffer.from(head, "base64url").toString()) as { alg: string };
    const { iat, exp, iss } = JSON.parse(Buffer.from(body, "base64url").toString()) as { iat: number; exp: number; iss: string };
    const seconds = now() / 1_000;
    if (alg !== "RS256") throw refused("A JSON web token could not be decoded");
    if (iat > seconds) throw refused("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued");
    if (exp > seconds + 600) throw refused("'Expiration time' claim ('exp') is too far in the future");
    if (exp <= seconds)
      throw refused("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires");
    if (![String(app.id), app.clientId].includes(iss)) throw new Refusal(404, "Integration not found");
  }

  const app: FakeApp = {
    id: 4_711,
    clientId: "Iv23liCanary",
    privateKey,
    isInstalled: true,
    isSuspended: false,
    permissions: { metadata: "read", contents: "write", pull_requests: "write", checks: "read", statuses: "read", actions: "read" },
    aheadMs: 0,
    lifeMs: 3_600_000,
    tokens: [],
    ...more,
    admit(line, { shown, repository }) {
      if (/^GET .*\/installation$|^POST \/app\//.test(line)) return admitApp(shown);
      const token = living(shown);
      if (token === undefined) throw refused("Bad credentials");
      const [, rights] = RIGHTS.find(([pattern]) => pattern.test(line)) ?? [];
      const isOfToken = line === "POST /graphql" || line.includes(` /repos/${repository}/`);
      if (!isOfToken || !token.repositories.includes(repository.split("/")[1]!)) throw new Refusal(404, "Not Found");
      if (rights === undefined || !allows(token, rights)) throw new Refusal(403, "Resource not accessible by integration");
    },
    admitsGit(shown, { name, writes }) {
      const token = living(shown);
      if (token === undefined) return null;
      return token.repositories.includes(name) && allows(token, { contents: writes ? "write" : "read" });
    },
    routes: [
      [
        /^GET \/installation$/,
        () => {
          if (!app.isInstalled) throw new Refusal(404, "Not Found");
          const suspended_at = app.isSuspended ? "2026-01-02T03:04:05Z" : null;
          return { status: 200, data: { id: INSTALLATION, app_id: app.id, permissions: app.permissions, suspended_at } };
        },
      ],
      [
        /^POST \/app\/installations\/(\d+)\/access_tokens$/,
        ([, id], _, body) => {
          if (!app.isInstalled || Number(id) !== INSTALLATION) throw new Refusal(404, "Not Found");
          if (app.isSuspended) throw new Refusal(403, "This installation has been suspended");
          const { repositories, permissions } = body as Pick<FakeAppToken, "repositories" | "permissions">;
          const isGranted = ([name, level]: [string, string]): boolean =>
            app.permissions[name] === level || app.permissions[name] === "write";
          if (!Object.entries(permissions).every(isGranted))
            throw new Refusal(422, "The permissions requested are not granted to this installation.");
          const token = `ghs_canary_of_an_app_${(given += 1)}`;
          const expiresAtMs = Math.floor((now() + app.lifeMs) / 1_000) * 1_000;
          app.tokens.push({ token, repositories, permissions: { metadata: "read", ...permissions }, expiresAtMs });
          const expires_at = new Date(expiresAtMs).toISOString().replace(".000Z", "Z");
          return { status: 201, data: { token, expires_at, permissions }, headers: { date: new Date(now()).toUTCString() } };
        },
      ],
    ],
  };
  return app;
}

import {
  type ChangeRepositoryRequest,
  type Credential,
  type Organization,
  type Repository,
  RunyardError,
  type Secret,
  type Snapshot,
} from "@runyard/sdk/contract";
import type { ApiEngine } from "../engine.ts";

type Settings = Pick<
  ApiEngine,
  | "listRepositories"
  | "createRepository"
  | "getRepository"
  | "changeRepository"
  | "getOrganization"
  | "changeOrganization"
  | "listSecrets"
  | "setSecret"
  | "deleteSecret"
  | "listCredentials"
  | "setCredential"
  | "deleteCredential"
  | "listSnapshots"
  | "getSnapshot"
  | "deleteSnapshot"
>;

const AT = "2026-11-20T10:00:00.000Z";
const NO_PUBLISHING = { commitAuthor: null, protectedPaths: [], publish: null, pullRequest: null };
const NO_VARIABLES = { environment: {}, secrets: [] as string[] };

/** The one that each organization has until it deletes it. */
export const SNAPSHOT: Snapshot = {
  id: "snap_01k00000000000000000000000",
  repositoryUrl: "/r",
  cacheKey: "v1",
  commands: ["npm ci"],
  sandboxDriver: "bwrap",
  runnerId: "runner",
  runId: "run_01k00000000000000000000000",
  bytes: 4_096,
  files: 1,
  hits: 0,
  createdAt: AT,
  lastUsedAt: AT,
};

/** Repositories and organizations in memory, beside the runs of `createLogEngine`. */
export function createLogSettings(newId: (kind: "repo" | "secret" | "credential") => string): Settings {
  const repositories = new Map<string, { readonly orgId: string; repository: Repository }>();
  const secrets = new Map<string, { readonly orgId: string; readonly secret: Secret }>();
  const credentials = new Map<string, { readonly orgId: string; readonly credential: Credential }>();
  const organizations = new Map<string, Organization>();
  const withoutSnapshot = new Set<string>();
  const hasSnapshot = (orgId: string): boolean => !withoutSnapshot.has(orgId);

  const find = (orgId: string, id: string): { readonly orgId: string; repository: Repository } => {
    const entry = repositories.get(id);
    if (entry === undefined || entry.orgId !== orgId) throw new RunyardError("repository_not_found", `There is no repository ${id}.`);
    return entry;
  };
  const organizationOf = (id: string): Organization =>
    organizations.get(id) ?? {
      id,
      name: id,
      planFirst: false,
      dailyCapUsd: null,
      spentTodayUsd: 0,
      approvalAboveUsd: null,
      isolationFloor: null,
      egress: [],
      egressAllowed: null,
      ...NO_PUBLISHING,
      coAuthor: false,
      signingKey: null,
      ...NO_VARIABLES,
      createdAt: AT,
    };

  return {
    listRepositories: async ({ orgId }) => {
      const data = [...repositories.values()].filter((entry) => entry.orgId === orgId).map((entry) => entry.repository);
      return { data: data.toReversed(), has_more: false, next_cursor: null };
    },
    createRepository: async ({ orgId }, { repositoryUrl }) => {
      const known = [...repositories.values()].find((entry) => entry.orgId === orgId && entry.repository.repositoryUrl === repositoryUrl);
      if (known !== undefined) return known.repository;
      const blank = {
        plan: null,
        planningStatement: null,
        autoConfirmPlans: false,
        approvalAboveUsd: null,
        egress: [],
        ...NO_PUBLISHING,
        coAuthor: null,
        setup: null,
        checks: null,
        branch: null,
        verify: null,
        agent: null,
        ...NO_VARIABLES,
        createdAt: AT,
      };
      const repository = { id: newId("repo"), repositoryUrl, ...blank };
      repositories.set(repository.id, { orgId, repository });
      return repository;
    },
    getRepository: async ({ orgId }, id) => find(orgId, id).repository,
    changeRepository: async ({ orgId }, id, change) => {
      const entry = find(orgId, id);
      const { setup, ...plain } = change;
      const shown = setup === undefined ? entry.repository.setup : setup && { ...setup, cacheKey: setup.cacheKey ?? null };
      entry.repository = { ...entry.repository, ...given(plain), ...listsOf(change, entry.repository), setup: shown };
      return entry.repository;
    },
    listSecrets: async ({ orgId }) => {
      const data = [...secrets.values()].filter((entry) => entry.orgId === orgId).map((entry) => entry.secret);
      return { data: data.toReversed(), has_more: false, next_cursor: null };
    },
    setSecret: async ({ orgId }, { name }) => {
      const place = {
        scope: "organization",
        repository: null,
        agent: null,
        host: null,
        header: null,
        keyId: "0".repeat(16),
        usable: true,
      } as const;
      const secret = { id: newId("secret"), name, ...place, createdAt: AT, updatedAt: AT };
      secrets.set(secret.id, { orgId, secret });
      return secret;
    },
    deleteSecret: async ({ orgId }, id) => {
      if (secrets.get(id)?.orgId !== orgId) throw new RunyardError("secret_not_found", `There is no secret ${id}.`);
      secrets.delete(id);
    },
    listCredentials: async ({ orgId }) => {
      const data = [...credentials.values()].filter((entry) => entry.orgId === orgId).map((entry) => entry.credential);
      return { data: data.toReversed(), has_more: false, next_cursor: null };
    },
    setCredential: async ({ orgId }, { kind, url }) => {
      const rest = { username: null, appId: null, knownHosts: null, keyId: "0".repeat(16), usable: true, createdAt: AT, updatedAt: AT };
      const credential = { id: newId("credential"), kind, url, ...rest };
      credentials.set(credential.id, { orgId, credential });
      return credential;
    },
    deleteCredential: async ({ orgId }, id) => {
      if (credentials.get(id)?.orgId !== orgId) throw new RunyardError("credential_not_found", `There is no credential ${id}.`);
      credentials.delete(id);
    },
    listSnapshots: async ({ orgId }) => ({ data: hasSnapshot(orgId) ? [SNAPSHOT] : [], has_more: false, next_cursor: null }),
    getSnapshot: async ({ orgId }, id) => {
      if (id !== SNAPSHOT.id || !hasSnapshot(orgId)) throw new RunyardError("snapshot_not_found", `There is no snapshot ${id}.`);
      return SNAPSHOT;
    },
    deleteSnapshot: async ({ orgId }, id) => {
      if (id !== SNAPSHOT.id || !hasSnapshot(orgId)) throw new RunyardError("snapshot_not_found", `There is no snapshot ${id}.`);
      withoutSnapshot.add(orgId);
    },
    getOrganization: async ({ orgId }) => organizationOf(orgId),
    changeOrganization: async ({ orgId }, change) => {
      const before = organizationOf(orgId);
      const { signingKey, ...plain } = change;
      const shown = signingKey && { publicKey: "ssh-ed25519 AAAA", fingerprint: "SHA256:x", usable: true };
      const organization = {
        ...before,
        ...given(plain),
        ...listsOf(change, before),
        signingKey: shown === undefined ? before.signingKey : shown === "" ? null : shown,
      };
      organizations.set(orgId, organization);
      return organization;
    },
  };
}

type Lists = Pick<Repository, "environment" | "secrets" | "egress" | "protectedPaths">;

function listsOf({ environment, secrets, egress, protectedPaths }: Pick<ChangeRepositoryRequest, keyof Lists>, before: Lists): Lists {
  return {
    environment: environment === undefined ? before.environment : (environment ?? {}),
    secrets: secrets === undefined ? before.secrets : (secrets ?? []),
    egress: egress === undefined ? before.egress : (egress ?? []),
    protectedPaths: protectedPaths === undefined ? before.protectedPaths : (protectedPaths ?? []),
  };
}

function given<T extends object>(change: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

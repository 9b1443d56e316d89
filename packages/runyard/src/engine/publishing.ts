import { type PublishMode, type PullRequestSettings, type RunPermission, RunyardError } from "@runyard/sdk/contract";
import type { GithubUse } from "../core/github-app.ts";
import { type GithubPlace, githubPlaceOf } from "../core/github-place.ts";
import { joinPullRequest, type PublishDefault, publishDefault } from "../core/publish-defaults.ts";
import { decidePublish } from "../core/publish-mode.ts";
import type { GithubAppCredential, RemoteCredential } from "../core/remote-credential.ts";
import { type AllowedHosts, isHostAllowed } from "../core/repository-hosts.ts";
import { isRemoteUrl, parseRemoteUrl, type RemoteUrl } from "../core/repository-url.ts";
import type { RunSpec } from "../store/run-row.ts";
import { credentialFor, USUAL_USERNAME } from "./credentials.ts";
import type { EngineOptions } from "./engine.ts";

/** What becomes of a run's result, as its spec has it, and what there is to be said of it. Throws RunyardError `publish_not_possible`. */
export async function resolvePublish(
  options: Pick<EngineOptions, "db" | "vault" | "githubHosts">,
  run: {
    readonly orgId: string;
    /** As the repository is called once it was looked at. */
    readonly repositoryUrl: string;
    readonly granted: readonly RunPermission[];
    readonly publish: PublishMode | undefined;
    readonly pullRequest: PullRequestSettings | undefined;
    readonly defaults: readonly PublishDefault[];
  },
): Promise<{
  readonly spec: Pick<RunSpec, "publish" | "pullRequest" | "publishFrom">;
  readonly notices: readonly { readonly code: string; readonly message: string }[];
}> {
  const place = placeOf(run.repositoryUrl, options.githubHosts);
  const { defaults } = run;
  const decided = decidePublish({
    asked: run.publish ?? null,
    asksForPullRequest: run.pullRequest !== undefined,
    byDefault: publishDefault(defaults),
    granted: run.granted,
    place: typeof place === "string" ? place : "github",
    hasToken: typeof place !== "string" && (await apiCredential(options, run.orgId, place)) !== null,
  });
  if ("refusal" in decided) throw new RunyardError("publish_not_possible", decided.refusal);
  const { mode: publish, from, notice } = decided;
  const notices = notice === null ? [] : [{ code: "publish-default", message: notice }];
  const publishFrom = from === null ? {} : { publish: from };
  if (publish !== "pull_request" || typeof place === "string") return { spec: { publish, publishFrom }, notices };
  const joined = joinPullRequest(run.pullRequest ?? {}, defaults);
  return { spec: { publish, pullRequest: { ...joined.settings, place }, publishFrom: { ...publishFrom, ...joined.from } }, notices };
}

/** Where a repository is: at a GitHub server, on another machine, or on this one. */
export function placeOf(repositoryUrl: string, githubHosts: AllowedHosts): GithubPlace | "remote" | "local" {
  if (!isRemoteUrl(repositoryUrl)) return "local";
  const url = parseRemoteUrl(repositoryUrl);
  if (typeof url === "string") return "local";
  return githubPlaceOf(url, ({ host, port }) => isHostAllowed(githubHosts, { host, port })) ?? "remote";
}

/** Gets a token of an app for one repository and one use. Rejects with GithubError. */
export type AppTokenSource = (
  app: GithubAppCredential,
  place: Pick<GithubPlace, "apiUrl" | "owner" | "name">,
  use: GithubUse,
) => Promise<string>;

/** By what a GitHub server's API can be asked about a repository: what its git by https is shown; null: there is nothing. */
export async function apiCredential(
  deps: Pick<EngineOptions, "db" | "vault">,
  orgId: string,
  { tokenUrl }: GithubPlace,
): Promise<Exclude<RemoteCredential, { kind: "ssh-key" }> | GithubAppCredential | null> {
  const url = parseRemoteUrl(tokenUrl);
  const credential = typeof url === "string" ? null : await credentialFor(deps, orgId, url);
  return credential === null || credential.kind === "ssh-key" ? null : credential;
}

/** The token with which that is done; null: there is none. Rejects with GithubError where an app gets none. */
export async function tokenFor(
  deps: Pick<EngineOptions, "db" | "vault" | "appToken">,
  orgId: string,
  { place, use }: { readonly place: GithubPlace; readonly use: GithubUse },
): Promise<string | null> {
  const credential = await apiCredential(deps, orgId, place);
  return credential?.kind === "github-app" ? deps.appToken(credential, place, use) : (credential?.token ?? null);
}

/**
 * What a repository's git is shown; null: nothing. Throws RunyardError `repository_not_usable`, and GithubError where an app
 * gets no token.
 */
export async function shownToGit(
  deps: Pick<EngineOptions, "db" | "vault" | "appToken" | "githubHosts">,
  orgId: string,
  { url, use }: { readonly url: RemoteUrl; readonly use: "fetch" | "push" },
): Promise<RemoteCredential | null> {
  const credential = await credentialFor(deps, orgId, url);
  if (credential?.kind !== "github-app") return credential;
  const place = placeOf(url.href, deps.githubHosts);
  if (typeof place === "string")
    throw new RunyardError(
      "repository_not_usable",
      `${url.href} is no repository at a GitHub server, and what is stored for it is a GitHub App: see RUNYARD_GITHUB_HOSTS`,
    );
  const token = await deps.appToken(credential, place, use);
  return { kind: "token", id: credential.id, username: USUAL_USERNAME, token };
}

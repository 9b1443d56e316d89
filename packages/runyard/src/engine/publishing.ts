import { type PublishMode, type PullRequestSettings, type RunPermission, RunyardError } from "@runyard/sdk/contract";
import { type GithubPlace, githubPlaceOf } from "../core/github-place.ts";
import { joinPullRequest, publishDefault } from "../core/publish-defaults.ts";
import { decidePublish } from "../core/publish-mode.ts";
import { type AllowedHosts, isHostAllowed } from "../core/repository-hosts.ts";
import { isRemoteUrl, parseRemoteUrl } from "../core/repository-url.ts";
import { findPublishDefaults } from "../store/publish-defaults.ts";
import type { RunSpec } from "../store/run-row.ts";
import { credentialFor } from "./credentials.ts";
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
  },
): Promise<{
  readonly spec: Pick<RunSpec, "publish" | "pullRequest" | "publishFrom">;
  readonly notices: readonly { readonly code: string; readonly message: string }[];
}> {
  const place = placeOf(run.repositoryUrl, options.githubHosts);
  const defaults = await findPublishDefaults(options.db, run.orgId, run.repositoryUrl);
  const decided = decidePublish({
    asked: run.publish ?? null,
    asksForPullRequest: run.pullRequest !== undefined,
    byDefault: publishDefault(defaults),
    granted: run.granted,
    place: typeof place === "string" ? place : "github",
    hasToken: typeof place !== "string" && (await tokenFor(options, run.orgId, place)) !== null,
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

/** The token with which a GitHub server's API is asked about a repository: the one that its git is shown; null: there is none. */
export async function tokenFor(
  deps: Pick<EngineOptions, "db" | "vault">,
  orgId: string,
  { tokenUrl }: GithubPlace,
): Promise<string | null> {
  const url = parseRemoteUrl(tokenUrl);
  const credential = typeof url === "string" ? null : await credentialFor(deps, orgId, url);
  return credential?.kind === "token" ? credential.token : null;
}

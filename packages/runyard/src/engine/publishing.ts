import { type PublishMode, type PullRequestSettings, type RunPermission, RunyardError } from "@runyard/sdk/contract";
import { type GithubPlace, githubPlaceOf } from "../core/github-place.ts";
import { decidePublish } from "../core/publish-mode.ts";
import { type AllowedHosts, isHostAllowed } from "../core/repository-hosts.ts";
import { isRemoteUrl, parseRemoteUrl } from "../core/repository-url.ts";
import type { RunSpec } from "../store/run-row.ts";
import { credentialFor } from "./credentials.ts";
import type { EngineOptions } from "./engine.ts";

/** What becomes of a run's result, as its spec has it. Throws RunyardError `publish_not_possible`. */
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
): Promise<Pick<RunSpec, "publish" | "pullRequest">> {
  const place = placeOf(run.repositoryUrl, options.githubHosts);
  const decided = decidePublish({
    asked: run.publish ?? null,
    asksForPullRequest: run.pullRequest !== undefined,
    granted: run.granted,
    place: typeof place === "string" ? place : "github",
    hasToken: typeof place !== "string" && (await tokenFor(options, run.orgId, place)) !== null,
  });
  if ("refusal" in decided) throw new RunyardError("publish_not_possible", decided.refusal);
  if (decided.mode !== "pull_request" || typeof place === "string") return { publish: decided.mode };
  return { publish: decided.mode, pullRequest: { ...run.pullRequest, place } };
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

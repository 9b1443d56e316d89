import type { PublishMode, PublishSource, RunPermission } from "@runyard/sdk/contract";

/** What is known when it is decided what becomes of a run's result. */
export interface PublishWish {
  /** What the run asks for; null: nothing. */
  readonly asked: PublishMode | null;
  /** Whether it says how its pull request is to be. */
  readonly asksForPullRequest: boolean;
  /** What holds for runs that ask for nothing; null: nothing was said of them. */
  readonly byDefault: { readonly mode: PublishMode; readonly from: PublishSource } | null;
  readonly granted: readonly RunPermission[];
  /** Where its repository is: at a GitHub server, on another machine, or on this one. */
  readonly place: "github" | "remote" | "local";
  /** Whether there is a token for that server's API. */
  readonly hasToken: boolean;
}

export interface PublishDecision {
  readonly mode: PublishMode;
  /** Who said so; null: nobody. */
  readonly from: PublishSource | null;
  /** Why it is not what the default says; null: it is, or there is none. */
  readonly notice: string | null;
}

/** Decides what becomes of a run's result, or says why it cannot be as the run itself asks for it. */
export function decidePublish(wish: PublishWish): PublishDecision | { readonly refusal: string } {
  const { asked, granted, asksForPullRequest, byDefault } = wish;
  const mayWrite = granted.includes("repository:write");
  if (asked === "none" || asked === "branch") {
    if (asksForPullRequest)
      return { refusal: `The run is to have no pull request (publish: ${asked}), and says how it is to be: leave one of them out.` };
    if (asked === "branch" && !mayWrite)
      return { refusal: "A run without the permission repository:write makes no branch: grant it, or ask for publish: none." };
    return { mode: asked, from: "run", notice: null };
  }
  const why = whyNoPullRequest(wish, mayWrite);
  if (asked === "pull_request" || asksForPullRequest)
    return why === null ? { mode: "pull_request", from: "run", notice: null } : { refusal: why };
  const most = why === null ? "pull_request" : mayWrite ? "branch" : "none";
  if (byDefault === null) return { mode: most, from: null, notice: null };
  const { mode, from } = byDefault;
  if (RANK[mode] <= RANK[most]) return { mode, from, notice: null };
  // The run's own words come first, and what it is granted is one of them.
  const reason = mode === "branch" ? "It is not granted repository:write." : why;
  const gets = most === "none" ? "publishes nothing" : "gets a branch";
  return { mode: most, from: null, notice: `Its ${from} has publish: ${mode} for runs that say nothing, and this one ${gets}. ${reason}` };
}

const RANK = { none: 0, branch: 1, pull_request: 2 } as const;

function whyNoPullRequest({ granted, place, hasToken }: PublishWish, mayWrite: boolean): string | null {
  if (place === "local")
    return "A pull request needs a repository at a GitHub server, given by its URL: this one is on the server's machine.";
  if (place === "remote")
    return "A pull request needs a repository at a GitHub server: where this one is one, start the server with its host in RUNYARD_GITHUB_HOSTS.";
  if (!mayWrite || !granted.includes("pull_request:create"))
    return "The run is not granted what a pull request takes: the permissions repository:write and pull_request:create.";
  return hasToken
    ? null
    : "There is no token for this repository, which a pull request takes: store one with `runyard credentials add URL --token-stdin`.";
}

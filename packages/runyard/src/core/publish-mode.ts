import type { PublishMode, RunPermission } from "@runyard/sdk/contract";

/** What is known when it is decided what becomes of a run's result. */
export interface PublishWish {
  /** What the run asks for; null: nothing. */
  readonly asked: PublishMode | null;
  /** Whether it says how its pull request is to be. */
  readonly asksForPullRequest: boolean;
  readonly granted: readonly RunPermission[];
  /** Where its repository is: at a GitHub server, on another machine, or on this one. */
  readonly place: "github" | "remote" | "local";
  /** Whether there is a token for that server's API. */
  readonly hasToken: boolean;
}

/** Decides what becomes of a run's result, or says why it cannot be as it was asked for. */
export function decidePublish(wish: PublishWish): { readonly mode: PublishMode } | { readonly refusal: string } {
  const { asked, granted } = wish;
  const mayWrite = granted.includes("repository:write");
  if (asked === "none" || asked === "branch") {
    if (wish.asksForPullRequest)
      return { refusal: `The run is to have no pull request (publish: ${asked}), and says how it is to be: leave one of them out.` };
    if (asked === "branch" && !mayWrite)
      return { refusal: "A run without the permission repository:write makes no branch: grant it, or ask for publish: none." };
    return { mode: asked };
  }
  const why = whyNoPullRequest(wish, mayWrite);
  if (why === null) return { mode: "pull_request" };
  if (asked === "pull_request" || wish.asksForPullRequest) return { refusal: why };
  return { mode: mayWrite ? "branch" : "none" };
}

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

import type { GivenFrom } from "@runyard/sdk/contract";
import type { VerifyCommand } from "./attempts.ts";

/** What a repository says of the start of its runs; null: nothing. */
export interface RepositoryGives {
  readonly branch: string | null;
  readonly verify: readonly VerifyCommand[] | null;
  /** A profile's name, or a saved agent's name or id. */
  readonly agent: string | null;
}

/** What a run says of the same; undefined: nothing. */
export interface RunGives {
  readonly branch?: string | undefined;
  readonly verify?: readonly VerifyCommand[] | undefined;
  readonly agent?:
    | { readonly name?: string | undefined; readonly profile?: string | undefined; readonly command?: readonly string[] | undefined }
    | undefined;
  /** Of a run that reviews: its pull request decides where it starts, what commands would run, and what an agent's secrets lie beside. */
  readonly review?: object | undefined;
}

/** What a run gets by default, because it does not say it itself, and who gave each. */
export interface Given {
  readonly branch: string | null;
  readonly agent: string | null;
  /** The commands themselves, whoever gave them. */
  readonly verify: readonly VerifyCommand[];
  readonly from: GivenFrom;
}

/** The run's own word comes first, then its repository's. */
export function giveDefaults(run: RunGives, repository: RepositoryGives): Given {
  const { name, profile, command } = run.agent ?? {};
  const isReview = run.review !== undefined;
  const from = {
    branch: sourceOf(run.branch, isReview ? null : repository.branch),
    verify: sourceOf(run.verify, isReview ? null : repository.verify),
    agent: sourceOf(name ?? profile ?? command, isReview ? null : repository.agent),
  };
  return {
    branch: from.branch === "repository" ? repository.branch : null,
    agent: from.agent === "repository" ? repository.agent : null,
    verify: (from.verify === "repository" ? repository.verify : run.verify) ?? [],
    from: Object.fromEntries(Object.entries(from).filter(([, source]) => source !== undefined)),
  };
}

function sourceOf(own: unknown, byDefault: unknown): "run" | "repository" | undefined {
  return own !== undefined ? "run" : byDefault !== null ? "repository" : undefined;
}

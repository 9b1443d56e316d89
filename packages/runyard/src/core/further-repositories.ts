import { repositoryNameSchema } from "@runyard/sdk/contract";

/** A further repository of a run, as it was asked for and found. */
export interface FoundRepository {
  /** As it was asked for; null: the last part of its path. */
  readonly name: string | null;
  /** Where it lies. */
  readonly root: string;
  /** The same for all ways to name one repository. */
  readonly identity: string;
}

/** What is wrong with one of them, by its place in the list. */
export interface RepositoryProblem {
  readonly index: number;
  readonly field: "repositoryUrl" | "name";
  readonly message: string;
}

/** Their names; or the first thing that keeps them from being in one run. */
export function nameRepositories(
  first: Pick<FoundRepository, "root" | "identity">,
  further: readonly FoundRepository[],
): { readonly names: readonly string[]; readonly problem: RepositoryProblem | null } {
  const seen = new Map([[first.identity, first.root]]);
  const names: string[] = [];
  for (const [index, { name, root, identity }] of further.entries()) {
    const at = (field: RepositoryProblem["field"], message: string) => ({ names, problem: { index, field, message } });
    const before = seen.get(identity);
    if (before !== undefined) return at("repositoryUrl", `is the same repository as ${before}: a run has each repository once`);
    seen.set(identity, root);
    const chosen = name ?? lastPart(root);
    if (!repositoryNameSchema.safeParse(chosen).success)
      return at("name", `${JSON.stringify(chosen)} cannot be the name of a folder here: give the repository another name`);
    // Also where file systems do not tell letters apart by their case.
    if (names.some((other) => other.toLowerCase() === chosen.toLowerCase()))
      return at("name", `${chosen} is the name of two repositories: give one of them another name`);
    names.push(chosen);
  }
  return { names, problem: null };
}

/** `app` of `/src/app`, `/src/app.git`, `https://host/acme/app.git` and `git@host:acme/app.git`. */
function lastPart(root: string): string {
  return root
    .replace(/\/+$/, "")
    .replace(/\/?\.git$/, "")
    .replace(/^.*[/:]/s, "");
}

import { type FurtherRepository, type FurtherRepositoryRequest, type Isolation, RunyardError } from "@runyard/sdk/contract";
import { nameRepositories } from "../core/further-repositories.ts";
import type { EngineOptions, InspectedRepository } from "./engine.ts";

/**
 * Looks at the repositories that a run is to have beside its first one. Throws RunyardError `repository_not_usable`,
 * `invalid_request` where they cannot be in one run, and `sandbox_not_available` where one that may only be read could be written.
 */
export async function inspectFurther(
  options: Pick<EngineOptions, "inspectRepository">,
  asked: readonly FurtherRepositoryRequest[],
  { orgId, first, isolation }: { readonly orgId: string; readonly first: InspectedRepository; readonly isolation: Isolation },
): Promise<{ readonly repositories: readonly FurtherRepository[]; readonly notices: InspectedRepository["notices"] }> {
  const found = await Promise.all(asked.map(({ repositoryUrl, branch }) => options.inspectRepository(repositoryUrl, branch, orgId)));
  const { names, problem } = nameRepositories(
    { root: first.root, identity: identityOf(first) },
    found.map((one, index) => ({ name: asked[index]?.name ?? null, root: one.root, identity: identityOf(one) })),
  );
  if (problem !== null) {
    const { index, field, message } = problem;
    const path = `repositories[${index}].${field}`;
    throw new RunyardError("invalid_request", `${path}: ${message}`, { errors: [{ path, message }] });
  }
  const repositories = found.map(({ root, branch, commit }, index): FurtherRepository => ({
    name: names[index] ?? "",
    repositoryUrl: root,
    branch,
    baseCommit: commit,
    access: asked[index]?.access ?? "write",
  }));
  const readOnly = repositories.find(({ access }) => access === "read");
  if (readOnly !== undefined && isolation.filesystem !== "hard")
    throw new RunyardError(
      "sandbox_not_available",
      `Without isolation nothing keeps an agent from writing: a repository that it may only read (${readOnly.name}) needs the sandbox driver bwrap or docker.`,
    );
  const notices = found.flatMap((one, index) =>
    one.notices.map(({ code, message }) => ({ code, message: `${names[index] ?? ""}: ${message}` })),
  );
  return { repositories, notices };
}

/** The git directory is one for all working trees of a repository. */
function identityOf({ gitDir, root }: InspectedRepository): string {
  return gitDir ?? root;
}

/** From an agent's workspace to a branch of the user's repository, step by step. */
export { commitArgv, type CommitOptions } from "./commit.ts";
export { copyTreeForCommit } from "./copy-tree.ts";
export { SecretsInResultError, importResult, type ImportedResult, type ImportOptions } from "./import-result.ts";
export type { ResultNotice } from "./commit-result.ts";
export { type CommitPair, type DiffStat, diffStat, patch } from "./diff.ts";
export { neutralizeMessages } from "./neutral-messages.ts";
export { treeOf } from "./tree-of.ts";
export { mayPass, remoteOutcome } from "./remote-error.ts";
export { branchProblemOf } from "./branch-problem.ts";
export { branchObstacle, publishBranch, type PublishOptions } from "./publish-branch.ts";
export { isTakenBack, mergeWithFilesOf, relationOf, unresolvedFiles } from "./merge.ts";
export { mergeArgv, readConflicts } from "./merge-script.ts";

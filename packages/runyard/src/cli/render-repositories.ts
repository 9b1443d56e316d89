import type { FurtherResult, Run } from "@runyard/sdk/contract";
import { oneLine, type Paint, plural, printable } from "./output.ts";
import { wrapBehind } from "./text.ts";

/** Further repositories as rows; none where there are none, nor by servers that do not know of them. */
export function renderRepositories({ repositories = [] }: Partial<Run>, row: (name: string, text: string) => string): string[] {
  return repositories.map(({ name, repositoryUrl, branch, baseCommit, access }) => {
    const only = access === "read" ? ", only to be read" : "";
    return row("beside", `${name}: ${repositoryUrl} · ${branch ?? "detached head"} at ${baseCommit.slice(0, 10)}${only}`);
  });
}

/** What came of those that were changed. */
export function renderRepositoryResults(results: readonly FurtherResult[] | undefined, paint: Paint, width: number): string[] {
  return (results ?? []).flatMap((result) => {
    const { name, headCommit, headBranch, problem, filesChanged, insertions, deletions } = result;
    if (headCommit === null) return [];
    const change = `${plural(filesChanged, "file")} changed, ${paint("green", `+${insertions}`)} ${paint("red", `−${deletions}`)}`;
    const branch = headBranch === null ? paint("dim", "no branch") : paint("bold", headBranch);
    const line = `  ${paint("dim", "beside")}  ${oneLine(name, 100)}: ${branch}, ${change}`;
    return problem === null ? [line] : [line, wrapBehind(`          ${paint("red", "not published")}: `, printable(problem), width)];
  });
}

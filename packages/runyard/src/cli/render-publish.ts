import type { Run } from "@runyard/sdk/contract";

/** What becomes of a run's result, where somebody else than the run itself said it; nothing by servers that do not tell. */
export function renderPublish(
  { publish, publishFrom = {}, pullRequest }: Partial<Pick<Run, "publish" | "publishFrom" | "pullRequest">>,
  row: (name: string, text: string) => string,
): string[] {
  const said = (from: string | undefined): boolean => from !== undefined && from !== "run";
  if (publish === undefined || !Object.values(publishFrom).some(said)) return [];
  const by = (text: string, from: string | undefined): string => (from === undefined ? text : `${text} (${from})`);
  const { draft, labels = [], reviewers = [] } = pullRequest ?? {};
  const list = (what: string, names: readonly string[]): string => (names.length === 0 ? `no ${what}` : `${what} ${names.join(" ")}`);
  const parts = [
    by(publish, publishFrom.publish),
    ...(publishFrom.draft === undefined ? [] : [by(draft === true ? "draft" : "no draft", publishFrom.draft)]),
    ...(publishFrom.labels === undefined ? [] : [by(list("labels", labels), publishFrom.labels)]),
    ...(publishFrom.reviewers === undefined ? [] : [by(list("reviewers", reviewers), publishFrom.reviewers)]),
  ];
  return [row("publish", parts.join(", "))];
}

/** That the run does not go on, and how it would; nothing by servers that do not know of it. */
export function renderStop(
  { pullRequestStop }: Partial<Pick<Run, "pullRequestStop">>,
  row: (name: string, text: string) => string,
): string[] {
  if (pullRequestStop == null) return [];
  const { url, userName, userId } = pullRequestStop;
  return [row("stopped", `with all agents of ${url}, by ${userName ?? userId}; it goes on behind: runyard pr allow ${url}`)];
}

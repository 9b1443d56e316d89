import type { ChangePullRequest, PullRequest } from "@runyard/sdk/contract";
import { Option } from "commander";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { paintFor, print, printable, printJson } from "./output.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";

interface PrOptions {
  readonly close?: boolean;
  readonly reopen?: boolean;
  readonly draft?: boolean;
  readonly ready?: boolean;
  readonly json?: boolean;
}

export const pr = command("pr", {
  summary: "Show a run's pull request as it is now; close or reopen it, make it a draft or ready",
  group: GROUP.runs,
  more: "Of several the newest. What the run does when it is continued goes by how its pull request stands: an open one goes on, behind one that was closed or merged there is a new one.",
  examples: ["runyard pr last", "runyard pr 62g7a1 --ready", "runyard pr last --close", "runyard pr last --json | jq -r .url"],
})
  .argument("<run>", RUN_ARGUMENT)
  .addOption(new Option("--close", "close it").conflicts("reopen"))
  .addOption(new Option("--reopen", "open it again"))
  .addOption(new Option("--draft", "make it a draft").conflicts("ready"))
  .addOption(new Option("--ready", "make it ready for review"))
  .addOption(jsonOption())
  .action(async (name: string, { json = false, ...options }: PrOptions) => {
    const client = connect();
    const pullRequest = await client.runs.pullRequest(await findRunId(client, name), changeOf(options));
    if (json) printJson(pullRequest);
    else print(renderPullRequest(pullRequest));
  });

function changeOf({ close, reopen, draft, ready }: PrOptions): ChangePullRequest {
  return {
    ...(close === true && { state: "closed" as const }),
    ...(reopen === true && { state: "open" as const }),
    ...(draft === true && { draft: true }),
    ...(ready === true && { draft: false }),
  };
}

function renderPullRequest(pull: PullRequest): string {
  const paint = paintFor(process.stdout);
  const state = pull.merged ? "merged" : pull.state === "open" && pull.draft ? "open, draft" : pull.state;
  return [
    `${paint("bold", printable(pull.url))}  ${state}`,
    `  ${printable(pull.title)}`,
    paint("dim", `  ${printable(pull.headBranchName)} to ${printable(pull.baseBranchName)}`),
  ].join("\n");
}

import type { RunyardClient } from "@runyard/sdk";
import type { ChangePullRequest, PullRequest } from "@runyard/sdk/contract";
import { Option } from "commander";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { paintFor, print, printable, printJson, say } from "./output.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";

interface PrOptions {
  readonly close?: boolean;
  readonly reopen?: boolean;
  readonly draft?: boolean;
  readonly ready?: boolean;
  readonly json?: boolean;
}

export const pr = command("pr", {
  summary: "Show a run's pull request as it is now, change it, or stop its agents",
  group: GROUP.runs,
  more: "Of several the newest. What the run does when it is continued goes by how its pull request stands: an open one goes on, behind one that was closed or merged there is a new one.",
  examples: [
    "runyard pr last",
    "runyard pr 62g7a1 --ready",
    "runyard pr last --close",
    "runyard pr last --json | jq -r .url",
    "runyard pr stop https://github.com/acme/app/pull/7",
  ],
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

const NAMED = "the address of the pull request, or a run, for its newest one";

const stop = command("stop", {
  summary: "Cancel all runs of a pull request, and let none go on",
  group: GROUP.runs,
  more: "Of all runs that made it or go on with it, also those that wait for its checks. Returns when they have ended. None of them is continued before somebody allows it. Doing it twice is harmless.",
  examples: ["runyard pr stop https://github.com/acme/app/pull/7", "runyard pr stop last --json"],
})
  .argument("<pull request>", NAMED)
  .addOption(jsonOption())
  .action(async (words: string, { json = false }: PrOptions) => {
    const client = connect();
    const state = await client.pullRequests.stop(await namedBy(client, words));
    for (const id of state.cancelled) await client.runs.waitForEnd(id);
    if (json) return printJson(state);
    const { userName, userId, at } = state.stopped ?? { userId: "somebody", at: "" };
    for (const id of state.cancelled) print(`${id} is cancelled.`);
    say(`No agent goes on with ${printable(state.url)}: ${printable(userName ?? userId)} has stopped them at ${at}.`);
    say(`Allow them again with: runyard pr allow ${printable(state.url)}`);
  });

const allow = command("allow", {
  summary: "Let runs of a pull request go on again that was stopped",
  group: GROUP.runs,
  more: "Runs that were cancelled stay so, and can be continued. Doing it twice is harmless.",
  examples: ["runyard pr allow https://github.com/acme/app/pull/7"],
})
  .argument("<pull request>", NAMED)
  .addOption(jsonOption())
  .action(async (words: string, { json = false }: PrOptions) => {
    const client = connect();
    const state = await client.pullRequests.allow(await namedBy(client, words));
    if (json) printJson(state);
    else say(`Runs may go on with ${printable(state.url)}.`);
  });

for (const one of [stop, allow]) pr.addCommand(one);

/** What the API is told: an address as it is, and a run by its whole id. */
function namedBy(client: RunyardClient, words: string): Promise<string> | string {
  return /^https?:\/\//i.test(words) ? words : findRunId(client, words);
}

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

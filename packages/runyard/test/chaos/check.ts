import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import type { RunyardClient, UnknownEvent } from "@runyard/sdk";
import type { Run, RunEvent } from "@runyard/sdk/contract";

/** What one run of a round was asked to do, and what was seen of it while servers died. */
export interface Trial {
  readonly id: string;
  readonly prompt: { readonly updates: number; readonly every: number; readonly mode: string };
  /** What a reader saw that was cut at every kill and resumed by seq. */
  readonly seen: (RunEvent | UnknownEvent)[];
}

export interface Totals {
  runs: number;
  updates: number;
  permissions: number;
  events: number;
}

/** Compares everything that exists of a finished run; returns every difference that it finds. */
export async function checkRun(
  client: RunyardClient,
  options: { trial: Trial; home: string; repository: string; totals: Totals },
): Promise<string[]> {
  const { trial, home, repository, totals } = options;
  const bad: string[] = [];
  const expect = (what: string, got: unknown, wanted: unknown): void => {
    if (JSON.stringify(got) !== JSON.stringify(wanted))
      bad.push(`${trial.id}: ${what}: got ${JSON.stringify(got)?.slice(0, 300)}, wanted ${JSON.stringify(wanted)?.slice(0, 300)}`);
  };
  const run = await client.runs.get(trial.id);
  expect("status", [run.status, run.error], ["completed", null]);
  if (run.status !== "completed") return bad;

  const log: RunEvent[] = [];
  for await (const event of client.runs.events(trial.id)) log.push(event as RunEvent);
  expect(
    "seqs",
    log.map((event) => event.seq),
    Array.from({ length: run.lastSeq }, (_, i) => i + 1),
  );
  expect("a reader that was cut saw the same log", JSON.stringify(trial.seen), JSON.stringify(log));
  const text = log
    .filter((event) => event.type === "message.delta")
    .map((event) => event.data.text)
    .join("");
  expect("text", text, Array.from({ length: trial.prompt.updates }, (_, i) => `${i}\n`).join(""));
  for (const type of ["run.created", "run.started", "agent.started", "turn.started", "turn.ended", "run.completed", "result.regular"]) {
    expect(`${type} events`, log.filter((event) => event.type === type).length, 1);
  }

  const audit = auditOf(repository, run);
  const received = (key: string): Record<string, unknown>[] => audit.filter((entry) => key in entry);
  for (const key of ["boot", "initialize", "session", "prompt"]) expect(`times the agent got ${key}`, received(key).length, 1);
  for (const key of ["twice", "garbled", "unknown"]) expect(`what the agent got ${key}`, received(key), []);
  const wanted = Math.floor(trial.prompt.updates / trial.prompt.every);
  expect("answers that the agent got", received("answered").length, wanted);
  checkPermissions(log, received("answered"), expect, wanted);

  const dir = path.join(home, "runs", trial.id, "1", "steps", "agent");
  expect("exit", fs.readFileSync(path.join(dir, "exit"), "utf8").trim(), "0");
  expect(
    "lines of `in` that are no JSON",
    fs
      .readFileSync(path.join(dir, "in"), "utf8")
      .trimEnd()
      .split("\n")
      .filter((line) => !isJson(line)),
    [],
  );
  Object.assign(totals, {
    runs: totals.runs + 1,
    updates: totals.updates + trial.prompt.updates,
    permissions: totals.permissions + wanted,
    events: totals.events + log.length,
  });
  return bad;
}

function checkPermissions(
  log: readonly RunEvent[],
  answers: readonly Record<string, unknown>[],
  expect: (what: string, got: unknown, wanted: unknown) => void,
  wanted: number,
): void {
  const requested = log.filter((event) => event.type === "permission.requested");
  const resolved = log.filter((event) => event.type === "permission.resolved");
  expect("permission events", [requested.length, resolved.length], [wanted, wanted]);
  for (const request of requested) {
    const decisions = resolved.filter((event) => event.data.permissionId === request.data.permissionId);
    const call = Number(/\d+$/.exec(request.data.title)?.[0]);
    const told = answers.find((answer) => answer["answered"] === call)?.["option"];
    expect(
      `decision of ${request.data.title}`,
      decisions.map((event) => event.data.optionId),
      [told],
    );
  }
}

/** What the agent wrote down, as it arrived in the user's repository. */
function auditOf(repository: string, run: Run): Record<string, unknown>[] {
  const text = execFileSync("git", ["-C", repository, "show", `${run.result?.headBranch}:audit.ndjson`], { encoding: "utf8" });
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

function isJson(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

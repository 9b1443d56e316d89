import type { PendingRequest, Run } from "@runyard/sdk/contract";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { oneLine, printJson, say } from "./output.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";

export const answer = command("answer", {
  summary: "Answer what a run's agent asks",
  group: GROUP.runs,
  more: "`runyard show <run>` says what a run waits for. A permission is answered once and by one person: the first answer counts. With --always, every later call of the same kind with exactly the same command or paths is decided alike, for the rest of the run.",
  examples: [
    "runyard answer last allow",
    'runyard answer 62g7a1 "Use PostgreSQL 18"',
    "runyard answer last deny --request perm_1_2048",
    "runyard answer last allow --always",
  ],
})
  .argument("<run>", RUN_ARGUMENT)
  .argument("<answer>", "allow or deny for a permission; any text for a question")
  .option("--request <id>", "which request, where several are open (runyard show lists them)")
  .option("--always", "remember the answer to a permission, for the rest of the run")
  .addOption(jsonOption())
  .action(async (name: string, text: string, options: { request?: string; always?: boolean; json?: boolean }) => {
    const client = connect();
    const id = await findRunId(client, name);
    const request = pick(await client.runs.get(id), options.request);
    const remember = options.always ?? false;
    if (remember && request.kind === "question")
      throw new CliError("An answer to a question counts once.", { advice: "Leave --always out.", exitCode: EXIT.usage });
    const run =
      request.kind === "permission"
        ? await client.runs.answerPermission(id, request.id, decisionOf(text), { remember })
        : await client.runs.answerQuestion(id, request.id, text);
    if (options.json === true) printJson(run);
    else say(`Answered ${request.id}: ${oneLine(text)}${remember ? ", and so for the rest of the run" : ""}. The run is ${run.status}.`);
  });

function pick(run: Run, id: string | undefined): PendingRequest {
  const open = run.waitingFor;
  if (run.status === "awaiting_plan")
    throw new CliError(`${run.id} waits for a decision about its plan.`, {
      advice: `Read it with \`runyard plan ${run.id}\`, and decide with \`runyard confirm\`, \`revise\` or \`reject\`.`,
      exitCode: EXIT.refused,
    });
  if (open.length === 0) throw new CliError(`${run.id} waits for nothing: it is ${run.status}.`, { exitCode: EXIT.refused });
  const request = id === undefined ? open[0] : open.find((candidate) => candidate.id === id);
  const list = open.map((one) => `\n    ${one.id}  ${oneLine(one.title)}`).join("");
  if (request === undefined)
    throw new CliError(`${run.id} has no open request ${id}.`, { advice: `Open are:${list}`, exitCode: EXIT.usage });
  if (id === undefined && open.length > 1) {
    throw new CliError(`${run.id} waits for ${open.length} answers.`, {
      advice: `Say which one with --request:${list}`,
      exitCode: EXIT.usage,
    });
  }
  if (request.kind === "approval")
    throw new CliError(
      `${run.id} ${request.files === undefined ? "has not begun" : "is done"}: it waits for an approval. ${request.title}.`,
      {
        advice: `Decide with \`runyard approve ${run.id}\` or \`runyard reject ${run.id}\`.`,
        exitCode: EXIT.refused,
      },
    );
  return request;
}

function decisionOf(text: string): "allow" | "deny" {
  if (/^(allow|yes|y)$/i.test(text.trim())) return "allow";
  if (/^(deny|no|n)$/i.test(text.trim())) return "deny";
  throw new CliError(`${JSON.stringify(text)} does not answer a permission.`, { advice: "Say allow or deny.", exitCode: EXIT.usage });
}

import type { PendingRequest, Run } from "@runyard/sdk/contract";
import { command, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { oneLine, printJson, say } from "./output.ts";

export const answer = command("answer", "Answer what a run's agent asks")
  .argument("<run>", "the run's id")
  .argument("<answer>", "allow or deny for a permission; any text for a question")
  .option("--request <id>", "which request, where several are open (runyard show lists them)")
  .addOption(jsonOption())
  .action(async (id: string, text: string, options: { request?: string; json?: boolean }) => {
    const client = connect();
    const request = pick(await client.runs.get(id), options.request);
    const run =
      request.kind === "permission"
        ? await client.runs.answerPermission(id, request.id, decisionOf(text))
        : await client.runs.answerQuestion(id, request.id, text);
    if (options.json === true) printJson(run);
    else say(`Answered ${request.id}: ${oneLine(text)}. The run is ${run.status}.`);
  });

function pick(run: Run, id: string | undefined): PendingRequest {
  const open = run.waitingFor;
  const request = id === undefined ? open[0] : open.find((candidate) => candidate.id === id);
  if (open.length === 0) throw new CliError(`${run.id} waits for nothing: it is ${run.status}.`, EXIT.refused);
  if (request === undefined)
    throw new CliError(`${run.id} has no open request ${id}. Open: ${open.map((one) => one.id).join(", ")}`, EXIT.usage);
  if (id === undefined && open.length > 1) {
    throw new CliError(
      `${run.id} waits for ${open.length} answers. Say which with --request:\n${open.map((one) => `  ${one.id}  ${oneLine(one.title)}`).join("\n")}`,
      EXIT.usage,
    );
  }
  return request;
}

function decisionOf(text: string): "allow" | "deny" {
  if (/^(allow|yes|y)$/i.test(text.trim())) return "allow";
  if (/^(deny|no|n)$/i.test(text.trim())) return "deny";
  throw new CliError(`A permission is answered with allow or deny, not ${JSON.stringify(text)}.`, EXIT.usage);
}

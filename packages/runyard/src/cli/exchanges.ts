import type { RunyardClient } from "@runyard/sdk";
import { EXCHANGE_SIDES, type ExchangeSide } from "@runyard/sdk/contract";
import { Option } from "commander";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { paintFor, print, printable, printJson, say } from "./output.ts";
import { renderExchange, renderExchanges } from "./render-exchanges.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";
import { proseWidthOf } from "./screen.ts";

export const exchanges = command("exchanges", {
  summary: "Show what a run's agent asked models and what it got",
  group: GROUP.runs,
  more: "Keys of providers and the run's token are taken out of what is recorded. With --raw a body comes byte for byte.",
  examples: ["runyard exchanges last", "runyard exchanges last 3", "runyard exchanges 62g7a1 3 --raw request | jq .messages"],
})
  .argument("<run>", RUN_ARGUMENT)
  .argument("[exchange]", "one of them, by its number in the list or by its id")
  .addOption(jsonOption())
  .addOption(new Option("--raw <side>", "print what was sent or answered as it is").choices(EXCHANGE_SIDES).conflicts("json"))
  .action(async (name: string, exchange: string | undefined, options: { json?: boolean; raw?: ExchangeSide }) => {
    if (options.raw !== undefined && exchange === undefined)
      throw new CliError("--raw is for one exchange.", {
        advice: "Name it: runyard exchanges <run> 1 --raw request",
        exitCode: EXIT.usage,
      });
    const client = connect();
    const runId = await findRunId(client, name);
    if (exchange === undefined) return showList(client, runId, options.json === true);
    const id = await findExchange(client, runId, exchange);
    if (options.raw !== undefined) return showRaw(await client.runs.exchangeBytes(runId, id, options.raw));
    const found = await client.runs.exchange(runId, id);
    if (options.json === true) printJson(found);
    else for (const line of renderExchange(found, paintFor(process.stdout), proseWidthOf(process.stdout))) print(line);
  });

async function showList(client: RunyardClient, runId: string, json: boolean): Promise<void> {
  const list = await client.runs.exchanges(runId);
  if (json) return printJson(list);
  for (const line of renderExchanges(list.data, paintFor(process.stdout), proseWidthOf(process.stdout))) print(line);
  if (list.data.length === 0) say("No model call of this run went through the gateway (yet).");
  if (list.elsewhere.length > 0) say(`What it asked at ${list.elsewhere.join(" and ")} is recorded there.`);
}

async function findExchange(client: RunyardClient, runId: string, words: string): Promise<string> {
  if (/^\d+-[0-9a-f]+$/.test(words)) return words;
  const { data } = await client.runs.exchanges(runId);
  const found = data.find(({ number }) => String(number) === words);
  if (found !== undefined) return found.id;
  throw new CliError(`Run ${runId} has no exchange ${printable(words)}.`, {
    advice: "`runyard exchanges <run>` lists them, each with its number and its id.",
    exitCode: EXIT.refused,
  });
}

/** To a terminal nothing that could steer it. */
function showRaw(content: Uint8Array): void {
  process.stdout.write(process.stdout.isTTY ? `${printable(new TextDecoder().decode(content))}\n` : content);
}

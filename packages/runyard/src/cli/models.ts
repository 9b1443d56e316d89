import type { Model, ModelList } from "@runyard/sdk/contract";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { paintFor, print, printable, printJson, say } from "./output.ts";

export const models = command("models", {
  summary: "List the models that runs can have",
  group: GROUP.settings,
  more: "Each provider is asked for its models; what it said is kept for some minutes. A run takes one with --model. Prices are US dollars for a million tokens of input and output; - is what nobody knows.",
  examples: ["runyard models", "runyard models sonnet", "runyard models --json | jq -r '.data[].id'"],
})
  .argument("[text]", "only models that have this in their name")
  .addOption(jsonOption())
  .action(async (text: string | undefined, options: { json?: boolean }) => {
    const client = connect();
    const [list, status] = await Promise.all([client.models.list(), client.status()]);
    const found = text === undefined ? list.data : list.data.filter((model) => isNamed(model, text));
    if (options.json === true) return printJson({ ...list, data: found });
    if (status.simulated) say("This server simulates: every run has its scripted model.");
    else if (list.providers.length === 0) say("No model is connected.");
    if (found.length > 0) print(renderModels(found));
    else if (list.data.length > 0) say(`No model has ${JSON.stringify(text)} in its name.`);
    for (const problem of problemsOf(list)) say(problem);
  });

function isNamed({ id, name }: Model, text: string): boolean {
  return `${id} ${name ?? ""}`.toLowerCase().includes(text.toLowerCase());
}

function renderModels(list: readonly Model[]): string {
  const paint = paintFor(process.stdout);
  const rows = list.map((model) => [
    printable(model.id),
    model.contextTokens === null ? "-" : model.contextTokens.toLocaleString("en"),
    dollars(model.inputUsdPerMillion),
    dollars(model.outputUsdPerMillion),
  ]);
  const table = [["MODEL", "CONTEXT", "INPUT", "OUTPUT"], ...rows];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  const lines = table.map(([id = "", ...figures]) =>
    [id.padEnd(widths[0] ?? 0), ...figures.map((figure, index) => figure.padStart(widths[index + 1] ?? 0))].join("  "),
  );
  return lines.map((line, index) => (index === 0 ? paint("dim", line) : line)).join("\n");
}

function dollars(price: number | null): string {
  return price === null ? "-" : `$${price.toFixed(2)}`;
}

function problemsOf({ providers }: ModelList): string[] {
  return providers.flatMap(({ name, host, problem }) => (problem === null ? [] : [`${name} at ${host}: ${printable(problem)}`]));
}

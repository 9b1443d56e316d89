import type { RunyardClient } from "@runyard/sdk";
import { MIN_SECRET_CHARS, type Secret } from "@runyard/sdk/contract";
import { type Command, Option } from "commander";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { type Paint, paintFor, print, printable, printJson, say } from "./output.ts";
import { readText } from "./read-text.ts";
import { knownRepository, madeKnown } from "./repositories.ts";
import { parseName } from "./variable-options.ts";

interface PlaceOptions {
  readonly repo?: string;
  readonly agent?: string;
  readonly json?: boolean;
}

interface SetOptions extends PlaceOptions {
  readonly fromFile?: string;
  readonly env?: boolean;
  readonly host?: string;
  readonly header?: string;
}

const HOW_TO_INJECT = "For example: --host registry.example.com --header 'authorization: Bearer {value}'";
const HOW_TO_SET = "Store one with: runyard secrets set NPM_TOKEN < token.txt";

export const secrets = command("secrets", {
  summary: "List secrets, and store some for runs",
  group: GROUP.settings,
  more: "Runs that name a secret (run --secret NAME, or a setting of their agent, repository or organization) get it as an environment variable, or, where it is stored with --host and --header, in the header of their requests to that host, without ever having it. Values are encrypted, never shown again, and masked wherever a run says them.",
  examples: ["runyard secrets", "runyard secrets set NPM_TOKEN < token.txt", "runyard secrets rm NPM_TOKEN --repo ."],
})
  .addOption(jsonOption())
  .action(async (options: { json?: boolean }) => {
    const data = await allOf(connect());
    if (options.json === true) return printJson({ data });
    if (data.length === 0) return say(`No secret is stored yet. ${HOW_TO_SET}`);
    for (const line of renderSecrets(data, paintFor(process.stdout))) print(line);
  });

const set = withPlace(
  command("set", {
    summary: "Store a secret, in place of the one of this name",
    group: GROUP.settings,
    more: `The value comes from stdin, from a file or from an environment variable of the same name, never from the command line, where others could read it. One line end at its end is left out. It has at least ${MIN_SECRET_CHARS} characters: a shorter one cannot be masked.`,
    examples: [
      "runyard secrets set NPM_TOKEN < token.txt",
      "runyard secrets set DEPLOY_KEY --from-file ~/.ssh/deploy_key --repo ~/src/site",
      "runyard secrets set API_KEY --env --agent reviewer",
      "runyard secrets set NPM_TOKEN --host registry.example.com --header 'authorization: Bearer {value}' < token.txt",
    ],
  }).argument("<name>", "the name of the variable", parseName),
)
  .addOption(new Option("--from-file <file>", "the value is this file's content").conflicts("env"))
  .option("--env", "the value is that of the environment variable of this name")
  .option("--host <host>", "with --header: no run has it, and its requests to this host (by https) get it in the header")
  .option("--header <line>", "with --host: the header's line, as 'authorization: Bearer {value}'")
  .addOption(jsonOption())
  .action(async (name: string, options: SetOptions) => {
    const { host, header } = options;
    if ((host === undefined) !== (header === undefined))
      throw new CliError("--host and --header belong together.", { advice: HOW_TO_INJECT, exitCode: EXIT.usage });
    const value = await valueOf(name, options);
    const client = connect();
    const place = await placeOf(client, options, madeKnown);
    const secret = await client.secrets.set({ name, value, ...(host !== undefined && { host, header }), ...place });
    if (options.json === true) printJson(secret);
    else
      say(
        `Stored ${secret.name}${whoseWords(secret)}${placeWords(secret)}. A run gets it with: runyard run "<task>" --secret ${secret.name}`,
      );
  });

const remove = withPlace(
  command("rm", {
    summary: "Delete a secret",
    group: GROUP.settings,
    more: "Runs that have it keep it until they end; runs that name it and have not begun fail.",
    examples: ["runyard secrets rm NPM_TOKEN", "runyard secrets rm DEPLOY_KEY --repo ~/src/site"],
  }).argument("<name>", "its name", parseName),
)
  .addOption(jsonOption())
  .action(async (name: string, options: PlaceOptions) => {
    const client = connect();
    const place = await placeOf(client, options, knownRepository);
    const found = (await allOf(client)).find((one) => one.name === name && isIn(one, place));
    if (found === undefined)
      throw new CliError(`There is no secret ${name} there.`, { advice: "See: runyard secrets", exitCode: EXIT.refused });
    await client.secrets.delete(found.id);
    if (options.json === true) printJson(found);
    else say(`Deleted ${found.name}${whoseWords(found)}.`);
  });

for (const one of [set, remove]) secrets.addCommand(one);

function withPlace(one: Command): Command {
  return one
    .addOption(
      new Option("--repo <repository>", "of this repository only: its folder on this machine, its URL, or its id").conflicts("agent"),
    )
    .option("--agent <name>", "of this saved agent only");
}

interface Place {
  readonly repository?: string;
  readonly agent?: string;
}

async function placeOf(
  client: RunyardClient,
  { repo, agent }: PlaceOptions,
  find: (client: RunyardClient, name: string) => Promise<{ readonly id: string }>,
): Promise<Place> {
  return { ...(repo !== undefined && { repository: (await find(client, repo)).id }), ...(agent !== undefined && { agent }) };
}

function isIn(
  secret: Secret,
  { repository = null, agent = null }: { readonly repository?: string | null; readonly agent?: string | null },
): boolean {
  return secret.repository === repository && secret.agent === agent;
}

async function valueOf(name: string, options: { readonly fromFile?: string; readonly env?: boolean }): Promise<string> {
  if (options.env !== true) return (await readText(options.fromFile ?? "-")).replace(/\r?\n$/, "");
  const value = process.env[name];
  if (value !== undefined) return value;
  throw new CliError(`${name} is not set here.`, { advice: "Set it, or give the value on stdin.", exitCode: EXIT.usage });
}

async function allOf(client: RunyardClient): Promise<Secret[]> {
  const data: Secret[] = [];
  for await (const one of client.secrets.list({ limit: 100 })) data.push(one);
  return data;
}

function whoseWords({ repository, agent }: Secret): string {
  if (repository !== null) return ` of the repository ${repository}`;
  return agent === null ? "" : ` of the agent ${agent}`;
}

/** Where the gateway puts it. */
function placeWords({ host, header }: Secret): string {
  return host === null || header === null ? "" : `, for the header ${header.split(":", 1)[0]} of ${host}`;
}

function renderSecrets(data: readonly Secret[], paint: Paint): string[] {
  const width = Math.max(...data.map((one) => one.name.length));
  return data.map((one) => {
    const whose = one.repository ?? (one.agent === null ? "organization" : `agent ${one.agent}`);
    const lost = one.usable ? "" : `  ${paint("yellow", `not usable: this server does not have its key ${one.keyId}`)}`;
    return `${paint("bold", one.name.padEnd(width))}  ${printable(whose + placeWords(one))}  ${paint("dim", one.updatedAt)}${lost}`;
  });
}

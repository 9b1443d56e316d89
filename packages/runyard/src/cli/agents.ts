import type { SavedAgent } from "@runyard/sdk/contract";
import { type AgentOptions, addAgentOptions, addRemovingOptions } from "./agent-options.ts";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { paintFor, print, printJson, say } from "./output.ts";
import { renderAgents, renderSavedAgent } from "./render-agents.ts";
import { proseWidthOf } from "./screen.ts";

const AGENT_ARGUMENT = "the saved agent's name, or its id";
const HOW_TO_SAVE = 'Save one with: runyard agents create reviewer --profile opencode --instructions "You review. You change nothing."';

export const agents = command("agents", {
  summary: "List agents, and save some under names of your own",
  group: GROUP.settings,
  more: "A saved agent is a profile (or a command) with a model, instructions, permissions, MCP servers, settings, a budget and a daily cap. Runs name it with --agent; what a run says itself comes first, then its agent, then the repository, then the organization. A run keeps what it was given, whatever becomes of the agent.",
  examples: ["runyard agents", "runyard agents show reviewer", "runyard agents --json | jq -r '.data[].name'"],
})
  .addOption(jsonOption())
  .action(async (options: { json?: boolean }) => {
    const client = connect();
    const data: SavedAgent[] = [];
    for await (const one of client.agents.list({ limit: 100 })) data.push(one);
    const { agents: profiles } = await client.status();
    if (options.json === true) return printJson({ data, profiles });
    print(renderAgents(data, profiles, { paint: paintFor(process.stdout), width: proseWidthOf(process.stdout) }));
    if (data.length === 0) say(`No agent is saved yet. ${HOW_TO_SAVE}`);
  });

const show = command("show", {
  summary: "Show a saved agent",
  group: GROUP.settings,
  more: "Values of headers and variables of MCP servers are not shown.",
  examples: ["runyard agents show reviewer", "runyard agents show reviewer --json"],
})
  .argument("<agent>", AGENT_ARGUMENT)
  .addOption(jsonOption())
  .action(async (name: string, options: { json?: boolean }) => tell(await connect().agents.get(name), options));

const create = command("create", {
  summary: "Save an agent under a name",
  group: GROUP.settings,
  examples: [
    'runyard agents create reviewer --profile opencode --instructions "You review. You change nothing."',
    "runyard agents create careful --plan --ask execute --budget 2 --daily-cap 10",
    'runyard agents create librarian --mcp-servers \'[{"name": "docs", "url": "http://127.0.0.1:8900/mcp"}]\'',
  ],
}).argument("<name>", "small letters and digits, with - between them; no profile's name");
const readCreate = addAgentOptions(create);
create.addOption(jsonOption()).action(async (name: string, options: AgentOptions & { json?: boolean }) => {
  const given = Object.entries(await readCreate(options)).filter(([, value]) => value !== null);
  tell(await connect().agents.create({ ...Object.fromEntries(given), name }), options);
});

const update = command("update", {
  summary: "Change a saved agent",
  group: GROUP.settings,
  more: 'What no option names stays. An empty text ("") takes it away; permissions, MCP servers, settings and the budget are each replaced as a whole. Runs that exist keep what they were given; a daily cap holds for them too.',
  examples: [
    "runyard agents update reviewer --model gpt-5.5",
    'runyard agents update reviewer --description "" --no-budget',
    "runyard agents update reviewer --daily-cap 5",
  ],
}).argument("<agent>", AGENT_ARGUMENT);
const readUpdate = addAgentOptions(update);
addRemovingOptions(update)
  .option("--name <name>", "another name")
  .addOption(jsonOption())
  .action(async (agent: string, options: AgentOptions & { name?: string; json?: boolean }) => {
    const change = { ...(await readUpdate(options)), ...(options.name !== undefined && { name: options.name }) };
    if (Object.keys(change).length === 0)
      throw new CliError("Nothing is to be changed.", { advice: "Name what, for example --model gpt-5.5.", exitCode: EXIT.usage });
    tell(await connect().agents.update(agent, change), options);
  });

const remove = command("delete", {
  summary: "Delete a saved agent",
  group: GROUP.settings,
  more: "Its runs stay, and those that have not ended go on as they are.",
  examples: ["runyard agents delete reviewer"],
})
  .argument("<agent>", AGENT_ARGUMENT)
  .addOption(jsonOption())
  .action(async (name: string, options: { json?: boolean }) => {
    const client = connect();
    const agent = await client.agents.get(name);
    await client.agents.delete(agent.id);
    if (options.json === true) printJson(agent);
    else say(`Deleted ${agent.name}.`);
  });

for (const one of [show, create, update, remove]) agents.addCommand(one);

function tell(agent: SavedAgent, options: { readonly json?: boolean }): void {
  if (options.json === true) printJson(agent);
  else print(renderSavedAgent(agent, paintFor(process.stdout), proseWidthOf(process.stdout)));
}

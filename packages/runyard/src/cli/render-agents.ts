import { money, type SavedAgent, type ServerStatus } from "@runyard/sdk/contract";
import { count, oneLine, type Paint, printable, shellWord } from "./output.ts";
import { listRules, renderPolicy } from "./render-policy.ts";
import { renderVariables } from "./render-variables.ts";
import { wrapBehind } from "./text.ts";

type Profile = ServerStatus["agents"][number];

interface Row {
  readonly name: string;
  readonly kind: string;
  readonly state: string;
  readonly style: "green" | "yellow" | "cyan";
  readonly words: string;
}

/** Saved agents and profiles in one table: the name to ask for, what it is, how it stands, and what there is to say. */
export function renderAgents(
  saved: readonly SavedAgent[],
  profiles: readonly Profile[],
  { paint, width }: { readonly paint: Paint; readonly width: number },
): string {
  const rows = [...saved.map((agent) => savedRow(agent, profiles)), ...profiles.map(profileRow)];
  const widest = (of: (row: Row) => string): number => Math.max(...rows.map((row) => of(row).length));
  const [names, kinds, states] = [widest((row) => row.name), widest((row) => row.kind), widest((row) => row.state)];
  return rows
    .map((row) => {
      const state = row.state.padEnd(states);
      const head = `${paint("bold", row.name.padEnd(names))}  ${row.kind.padEnd(kinds)}  ${paint(row.style, row.words === "" ? row.state : state)}`;
      return row.words === "" ? head : wrapBehind(`${head}  `, row.words, width);
    })
    .join("\n");
}

function savedRow(agent: SavedAgent, profiles: readonly Profile[]): Row {
  const profile = profiles.find((one) => one.name === agent.profile);
  const isMissing = profile?.installed === false;
  const words = [agent.model, agent.description].filter((text) => text !== null).map((text) => oneLine(text, 200));
  return {
    name: agent.name,
    kind: agent.command === null ? agent.profile : oneLine(agent.command.map(shellWord).join(" "), 30),
    state: isMissing ? "not installed" : "saved",
    style: isMissing ? "yellow" : "cyan",
    words: words.join(" · "),
  };
}

function profileRow({ name, installed, version, reason, credential, login }: Profile): Row {
  return {
    name,
    kind: "profile",
    state: installed ? (version ?? "ready") : "not installed",
    style: installed ? "green" : "yellow",
    words: reason ?? [...(credential === null ? [] : [whoPays(credential)]), ...loginWords(login)].join("; "),
  };
}

/** Whether runs can have the login of the program itself; nothing by servers that do not know of it. */
function loginWords(login: Profile["login"] | undefined): string[] {
  if (login == null) return [];
  if (login.usable) return [`own login${login.expiresAt === null ? "" : ` until ${login.expiresAt}`} (--own-login)`];
  return login.expiresAt === null ? [] : [`own login, which cannot be used: ${login.reason}`];
}

function whoPays({ provider, from }: NonNullable<Profile["credential"]>): string {
  return from === null ? `asks ${provider}, without a key` : `asks ${provider}, with the key of ${from}`;
}

/** Everything that a saved agent says. */
export function renderSavedAgent(agent: SavedAgent, paint: Paint, width: number): string {
  const row = (name: string, text: string): string => wrapBehind(`  ${paint("dim", name.padEnd(7))} `, printable(text), width);
  const { command, budget, mcpServers, permissionPolicy: policy, dailyCapUsd } = agent;
  return [
    `${paint("bold", agent.name)}  ${paint("dim", agent.id)}`,
    ...(agent.description === null ? [] : [row("about", agent.description)]),
    command === null ? row("profile", agent.profile) : row("command", command.map(shellWord).join(" ")),
    ...(agent.login === "own" ? [row("login", "the agent's own, which is in its sandbox")] : []),
    ...(agent.model === null ? [] : [row("model", agent.model)]),
    ...(agent.plan === null ? [] : [row("plan", agent.plan ? "its runs make one first" : "its runs make none")]),
    ...(policy === null ? [] : [renderPolicy({ ...policy, rules: [...(policy.rules ?? []), ...listRules(policy)] }, paint, width)]),
    ...mcpServers.map((server) => row("mcp", `${server.name}: ${server.url ?? (server.command ?? []).map(shellWord).join(" ")}`)),
    ...renderVariables(agent, row),
    ...(Object.keys(agent.settings).length === 0 ? [] : [row("runs", JSON.stringify(agent.settings))]),
    ...(budget === null ? [] : [row("budget", budgetWords(budget))]),
    ...(dailyCapUsd === null ? [] : [row("day", `${money(agent.spentTodayUsd)} of ${money(dailyCapUsd)} spent today (UTC)`)]),
    ...(agent.instructions === null ? [] : [row("told", agent.instructions)]),
  ].join("\n");
}

function budgetWords({ usd, tokens, advisory }: NonNullable<SavedAgent["budget"]>): string {
  const parts = [...(usd === undefined ? [] : [`${usd} US dollars`]), ...(tokens === undefined ? [] : [`${count(tokens)} tokens`])];
  return parts.length === 0 ? "no limit" : `at most ${parts.join(" and ")} for each run${advisory === true ? ", advisory" : ""}`;
}

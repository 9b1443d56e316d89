import { money } from "@runyard/sdk/contract";
import { codeText } from "./markdown.ts";

/** Which run of whom made something that others read. */
export interface Byline {
  readonly runId: string;
  readonly turn: number;
  readonly agent: string;
  readonly model: string | null;
  /** Of all turns, in US dollars; null: nobody knows. */
  readonly costUsd: number | null;
  readonly simulated: boolean;
  /** Where the run is looked at; null: the server has no address that others could follow. */
  readonly link: string | null;
}

/** The same in Markdown: "run …, turn 2: opencode with gpt-x, $0.12". */
export function bylineWords({ runId, turn, agent, model, costUsd, simulated, link }: Byline): string {
  const cost = simulated ? "simulated, no AI" : costUsd === null ? "cost unknown" : money(costUsd);
  const run = link === null ? codeText(runId) : `[${runId}](${link})`;
  return `run ${run}, turn ${turn}: ${codeText(agent)}${model === null ? "" : ` with ${codeText(model)}`}, ${cost}`;
}

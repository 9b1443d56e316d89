import type { RunyardClient } from "@runyard/sdk";
import type { Run } from "@runyard/sdk/contract";
import { CliError, EXIT } from "./exit-codes.ts";

/** For the help of every command that takes a run. */
export const RUN_ARGUMENT = "the run: its id, a beginning or ending of the id that only it has, or `last` for the newest";

const WHOLE_ID = /^run_[0-9a-z]{26}$/;
/** Shorter pieces would mean another run tomorrow. */
const SHORTEST = 4;
/** A short name is looked for among this many newest runs. */
const SEARCHED = 1_000;
const SHOWN = 5;

/** The id of the run that somebody means. */
export async function findRunId(client: RunyardClient, words: string): Promise<string> {
  const wanted = words.trim().toLowerCase();
  if (WHOLE_ID.test(wanted)) return wanted;
  if (wanted === "last") return newest(client);
  if (!/^[0-9a-z_]+$/.test(wanted)) {
    throw new CliError(`${JSON.stringify(words)} is no run.`, { advice: `Give ${RUN_ARGUMENT}.`, exitCode: EXIT.usage });
  }
  if (wanted.replace(/^run_/, "").length < SHORTEST) {
    throw new CliError(`${JSON.stringify(words)} is too short to name a run.`, {
      advice: `Give at least ${SHORTEST} characters of the id, the whole id, or \`last\`.`,
      exitCode: EXIT.usage,
    });
  }
  return only(words, await candidates(client, wanted));
}

async function newest(client: RunyardClient): Promise<string> {
  const { data } = await client.runs.list({ limit: 1 });
  if (data[0] !== undefined) return data[0].id;
  throw new CliError("There is no run yet.", { advice: 'Start one with: runyard run "say what this project does"' });
}

async function candidates(client: RunyardClient, wanted: string): Promise<Run[]> {
  const found: Run[] = [];
  let looked = 0;
  for await (const run of client.runs.list({ limit: 100 })) {
    looked += 1;
    if (run.id.endsWith(wanted) || run.id.startsWith(wanted) || run.id.startsWith(`run_${wanted}`)) found.push(run);
    if (looked >= SEARCHED || found.length > SHOWN) break;
  }
  return found;
}

function only(words: string, found: readonly Run[]): string {
  const [first] = found;
  if (first === undefined) {
    throw new CliError(`No run of the newest ${SEARCHED.toLocaleString("en-US")} begins or ends with ${JSON.stringify(words)}.`, {
      advice: "`runyard runs` lists them; the whole id always works.",
    });
  }
  if (found.length === 1) return first.id;
  const ids = found.slice(0, SHOWN).map((run) => `\n    ${run.id}`);
  throw new CliError(`${JSON.stringify(words)} can mean several runs.`, {
    advice: `Give more of the id:${ids.join("")}${found.length > SHOWN ? "\n    and more" : ""}`,
    exitCode: EXIT.usage,
  });
}

import type { Conversation } from "./conversation.ts";
import { demoTurns, isDemoRepository } from "./demo.ts";
import { isPlanning, planTurns } from "./plan.ts";
import { READ_MANIFEST, type Turn, updatePlan } from "./turn.ts";

export const SCRIPTED_MODEL = "scripted-1";

/**
 * What the scripted model does next. It keeps nothing in mind: where it stands follows from the
 * conversation, which only grows, so the turns before the present one never change.
 */
export function nextTurn(conversation: Conversation): Turn {
  const offered = script(conversation).map((turn) => ({ ...turn, calls: turn.calls.filter((call) => conversation.tools.has(call.name)) }));
  const last = offered.at(-1) as Turn;
  const working = offered.filter((turn) => turn.calls.length > 0);
  return working[conversation.turnsDone] ?? last;
}

function script(conversation: Conversation): Turn[] {
  const look: Turn = {
    say: "I will look at what is here first.",
    calls: [
      updatePlan([
        ["Look at the repository", "in_progress"],
        ["Make the change", "pending"],
        ["Check the result", "pending"],
      ]),
      { name: "list_files", input: {} },
    ],
  };
  const listing = conversation.results.find((result) => result.tool === "list_files")?.text ?? "";
  const hasManifest = /^package\.json$/m.test(listing);
  if (isPlanning(conversation)) return planTurns(conversation, hasManifest);
  if (!hasManifest) return [look, ...noteTurns(conversation)];
  return [look, READ_MANIFEST, ...(isDemoRepository(conversation) ? demoTurns(conversation) : noteTurns(conversation))];
}

const MAX_QUOTED_TASK_CHARS = 4_000;

/** For every task that the script does not know: a note that says what it is. */
function noteTurns({ task, results }: Conversation): Turn[] {
  const quoted = (task.length > MAX_QUOTED_TASK_CHARS ? `${task.slice(0, MAX_QUOTED_TASK_CHARS)} …` : task).replaceAll(/^/gm, "> ");
  const content = `# A simulated run\n\nNo model was connected: Runyard's scripted model answered in its place. It cannot work on a task;\nit wrote this file, so that you can see how a run goes. The task was:\n\n${quoted}\n`;
  const wrote = results.some((result) => result.tool === "write_file" && result.text.startsWith("Wrote"));
  return [
    {
      say: "This run is simulated, so I cannot do what the task asks. I will leave a note that says so.",
      calls: [{ name: "write_file", input: { path: "SIMULATED.md", content } }],
    },
    {
      say: "",
      calls: [
        updatePlan([
          ["Look at the repository", "completed"],
          ["Leave a note that no model is connected", "completed"],
        ]),
      ],
    },
    {
      say: `This run was simulated: no model was connected, and Runyard's scripted model followed its script. ${wrote ? "I wrote SIMULATED.md and changed nothing else." : "I changed nothing."} Connect a model to have the task done.`,
      calls: [],
    },
  ];
}

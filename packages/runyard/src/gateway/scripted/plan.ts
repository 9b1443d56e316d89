import { PLANNING_WORDS } from "../../core/plan.ts";
import type { Conversation } from "./conversation.ts";
import { isDemoRepository } from "./demo.ts";
import { READ_MANIFEST, type Turn } from "./turn.ts";

const MAX_QUOTED_FEEDBACK_CHARS = 1_000;

/** Whether a plan is asked for, and no work. */
export function isPlanning({ task }: Conversation): boolean {
  return PLANNING_WORDS.some((words) => task.includes(words));
}

/** The turns that look around and hand a plan in: for the sample repository that of the script's own work. */
export function planTurns(conversation: Conversation, hasManifest: boolean): Turn[] {
  const look: Turn = { say: "I will look at what is here, and plan before I change anything.", calls: [{ name: "list_files", input: {} }] };
  const plan = `${isDemoRepository(conversation) ? DEMO_PLAN : NOTE_PLAN}${answerTo(conversation)}`;
  return [
    look,
    ...(hasManifest ? [READ_MANIFEST] : []),
    { say: "", calls: [{ name: "propose_plan", input: { plan } }] },
    { say: "The plan is handed in.", calls: [] },
  ];
}

const DEMO_PLAN = `# Plan

1. Run the tests with \`node --test\`, to see what fails.
2. Mend \`slugify\` in \`src/slug.js\`: it replaces the first space of a title only.
3. Run the tests again.

Uncertain: nothing; the tests say what is expected.
`;

const NOTE_PLAN = `# Plan

1. Write \`SIMULATED.md\`, a note which says that no model is connected.

Uncertain: everything else. This run is simulated, so nobody has understood the task.
`;

/** A plan that came back says what it came back with. */
function answerTo({ task }: Conversation): string {
  const feedback = /came back with this feedback:\n\n([\s\S]+?)\n\nMake a new plan/.exec(task)?.[1];
  return feedback === undefined ? "" : `\nThe feedback was:\n\n${feedback.slice(0, MAX_QUOTED_FEEDBACK_CHARS).replaceAll(/^/gm, "> ")}\n`;
}

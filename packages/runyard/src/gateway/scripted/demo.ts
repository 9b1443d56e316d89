import type { Conversation } from "./conversation.ts";
import { type Turn, updatePlan } from "./turn.ts";

/** The name in the sample repository's package.json (assets/demo-repository). */
const DEMO_NAME = '"runyard-demo-slug"';
const TEST_COMMAND = "node --test";

/** What the script changes in the sample repository; a test compares it with the repository. */
export const DEMO_FIX = { path: "src/slug.js", old_text: '.replace(" ", "-")', new_text: '.replace(/\\s+/g, "-")' };

export function isDemoRepository({ results }: Conversation): boolean {
  return results.some((result) => result.tool === "read_file" && result.text.includes(DEMO_NAME));
}

/** The turns that mend the sample repository, once its package.json has been read. */
export function demoTurns(conversation: Conversation): Turn[] {
  const testRuns = conversation.results.filter((result) => result.tool === "run_command").map((result) => allPassed(result.text));
  const test: Turn = {
    say: "I will run the tests to see what is wrong.",
    calls: [{ name: "run_command", input: { command: TEST_COMMAND } }],
  };
  if (testRuns[0] === true)
    return [test, { say: "All tests pass already, so there is nothing to mend, and I changed nothing.", calls: [] }];
  return [
    test,
    {
      say: "A title of several words fails. I will read the function and what its tests expect.",
      calls: [
        { name: "read_file", input: { path: "src/slug.js" } },
        { name: "read_file", input: { path: "test/slug.test.js" } },
      ],
    },
    {
      say: "`replace` with a text as its pattern stops after the first match, so only the first space becomes a hyphen, and the later ones are dropped with the punctuation. A regular expression with the flag `g` takes them all.",
      calls: [{ name: "edit_file", input: DEMO_FIX }],
    },
    { say: "Now the tests again.", calls: [{ name: "run_command", input: { command: TEST_COMMAND } }] },
    ...reportTurns(testRuns[1] === true),
  ];
}

function reportTurns(passed: boolean): Turn[] {
  if (!passed) {
    return [
      {
        say: "The tests still fail. The change to src/slug.js may not have been allowed, or the repository is not as the script knows it; the output above says more.",
        calls: [],
      },
    ];
  }
  return [
    {
      say: "They pass.",
      calls: [
        updatePlan([
          ["Look at the repository", "completed"],
          ["Make the change", "completed"],
          ["Check the result", "completed"],
        ]),
      ],
    },
    {
      say: 'The tests failed because `slugify` in src/slug.js turned only the first space of a title into a hyphen: "How to write tests" became `how-towritetests`. I replaced the text pattern by a regular expression that turns every run of white space into one hyphen. All tests pass now.',
      calls: [],
    },
  ];
}

/** Both reporters of Node's test runner end with a count of failures. */
function allPassed(output: string): boolean {
  return /\bfail 0\b/.test(output);
}

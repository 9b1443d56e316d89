import { z } from "zod";
import { cutEnd, oneLine } from "../text.ts";
import { ToolProblem } from "./problem.ts";
import { defineTool, textContent } from "./tool.ts";

export const updatePlanTool = defineTool({
  description:
    "Show your plan to the people who follow your work, for a task of several steps. Always give all entries, with their status.",
  inputSchema: z.object({
    entries: z
      .array(
        z.object({
          content: z.string().min(1).describe("What is to be done, in one sentence"),
          status: z.enum(["pending", "in_progress", "completed"]),
        }),
      )
      .min(1)
      .max(50),
  }),
  kind: "think",
  needsPermission: false,
  title: () => "Update the plan",
  async prepare(input, context) {
    return {
      async run() {
        context.showPlan(input.entries.map((entry) => ({ ...entry, content: cutEnd(entry.content, 500) })));
        return { text: "The plan is shown." };
      },
    };
  },
});

export const proposePlanTool = defineTool({
  description:
    "Hand in your plan, when and only when you were asked to plan before you work. The whole plan, in Markdown. End your turn after it.",
  inputSchema: z.object({
    plan: z.string().min(1).describe("The plan: what will be changed and where, in which order, and how it will be checked"),
  }),
  kind: "switch_mode",
  needsPermission: false,
  title: () => "Hand in the plan",
  async prepare(input) {
    const content = textContent(input.plan);
    return {
      content,
      async run() {
        return { text: "The plan is handed in. A person decides about it; end your turn now.", content };
      },
    };
  },
});

export const askUserTool = defineTool({
  description: "Ask the person who gave you the task a question, when you cannot go on without the answer. Waits for it.",
  inputSchema: z.object({ question: z.string().min(1).describe("The question, complete in itself") }),
  kind: "think",
  needsPermission: false,
  title: (input) => `Ask: ${oneLine(input.question, 100)}`,
  async prepare(input, context) {
    return {
      async run() {
        const answer = await context.askPerson(input.question);
        if (answer === undefined)
          throw new ToolProblem("Nobody can be asked in this run: decide yourself, and say in your summary what you assumed.");
        if (answer === null) return { text: "The person gave no answer: decide yourself, and say in your summary what you assumed." };
        return { text: answer };
      },
    };
  },
});

import { expect, test } from "vitest";
import { answersPrompt, interruptedPrompt } from "./answers.ts";

test("every answer is told with what was asked", () => {
  const told = answersPrompt([
    { kind: "question", asked: "Which port?", answer: "4600" },
    { kind: "permission", asked: "rm -r build", answer: "allow" },
    { kind: "permission", asked: "git push", answer: "deny" },
    { kind: "permission", asked: "something newer", answer: "later" },
  ]);
  expect(told.split("\n\n").slice(1)).toEqual([
    "You asked: Which port?\nThe answer: 4600",
    "You asked for permission: rm -r build\nA person allows it.",
    "You asked for permission: git push\nA person refuses it: do not try it by another way.",
    "You asked for permission: something newer\nlater",
  ]);
});

test("only who asked permission is told that nothing was done", () => {
  const told = (kind: "permission" | "question") => answersPrompt([{ kind, asked: "x", answer: "allow" }]).split("\n\n")[0];
  expect(told("permission")).toMatch(/has not been done yet\.$/);
  expect(told("question")).toBe("Here is what people answered to what you asked. Go on with your work where you were.");
});

test("an interrupted agent is given its work again", () => {
  expect(interruptedPrompt("Fix it")).toMatch(/^You were stopped [^]*\n\nFix it$/);
});

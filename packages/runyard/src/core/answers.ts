/** A question or a request for permission of an agent, and what a person said to it: a text, or `allow` or `deny`. */
interface Answered {
  readonly kind: "permission" | "question";
  readonly asked: string;
  readonly answer: string;
}

const VERDICTS: Readonly<Record<string, string>> = {
  allow: "A person allows it.",
  deny: "A person refuses it: do not try it by another way.",
};

/** What an agent is told that was let go while it waited for these answers. */
export function answersPrompt(answers: readonly Answered[]): string {
  const told = answers.map(({ kind, asked, answer }) =>
    kind === "permission"
      ? `You asked for permission: ${asked}\n${VERDICTS[answer] ?? answer}`
      : `You asked: ${asked}\nThe answer: ${answer}`,
  );
  return [
    "You were stopped while you waited for an answer of a person. Here is what came; go on with your work where you were. What you asked permission for has not been done yet.",
    ...told,
  ].join("\n\n");
}

/** What an agent is told that was ended in the middle of its work, which is given to it again. */
export function interruptedPrompt(work: string): string {
  return `You were stopped in the middle of your work by a fault of the machine, and started again. The workspace is as you left it; what was under way then may be half done, so look before you go on. What you were asked:\n\n${work}`;
}

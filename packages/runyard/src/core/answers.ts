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
  const asksPermission = answers.some(({ kind }) => kind === "permission");
  const undone = asksPermission ? " You were stopped while you waited: what you asked permission for has not been done yet." : "";
  return [`Here is what people answered to what you asked. Go on with your work where you were.${undone}`, ...told].join("\n\n");
}

/** What an agent is told that was ended in the middle of its work, which is given to it again. */
export function interruptedPrompt(work: string): string {
  return `You were stopped in the middle of your work by a fault of the machine, and started again. The workspace is as you left it; what was under way then may be half done, so look before you go on. A question of yours that nobody has answered yet is not asked any more: ask it again. What you were asked:\n\n${work}`;
}

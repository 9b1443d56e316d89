/** What was said before a turn, for an agent that has no memory of it. */
export interface Story {
  readonly task: string;
  /** The prompt of the turn before. */
  readonly lastPrompt: string;
  readonly lastWords: string | null;
  /** What is to be done now. */
  readonly prompt: string;
}

/** The first prompt of a new conversation that goes on with earlier work. */
export function retell({ task, lastPrompt, lastWords, prompt }: Story): string {
  const parts = [
    "This goes on with earlier work, of which you have no memory. What was done so far is in the workspace.",
    `The task was:\n${task}`,
    ...(lastPrompt === task ? [] : [`What you were asked last:\n${lastPrompt}`]),
    ...(lastWords === null || lastWords.trim() === "" ? [] : [`What you said last:\n${lastWords}`]),
    `What to do now:\n${prompt}`,
  ];
  return parts.join("\n\n");
}

/** What a run's first prompt is made of. */
export interface PromptParts {
  /** Of the saved agent. */
  readonly instructions: string | null;
  readonly task: string;
  /** Those that the run has beside its first one. */
  readonly repositories: readonly { readonly name: string; readonly access: "read" | "write" }[];
  /** A JSON object. */
  readonly context: Readonly<Record<string, unknown>> | null;
  /** Paths from the top of the repository. */
  readonly files: readonly string[];
}

/**
 * The first prompt of a run: the instructions of its agent, the task, where its further repositories are, the context as
 * JSON, the files to look at first. A task with nothing around it is the prompt as it is.
 */
export function firstPrompt({ instructions, task, repositories, context, files }: PromptParts): string {
  return [
    ...(instructions === null ? [] : [instructions, "---"]),
    task,
    ...(repositories.length === 0 ? [] : [repositoriesWords(repositories)]),
    ...(context === null ? [] : [`Context:\n\n${fenced(JSON.stringify(context, null, 2))}`]),
    ...(files.length === 0 ? [] : [`Look at these files first:\n\n${files.map((file) => `- ${file}`).join("\n")}`]),
  ].join("\n\n");
}

/** Relative paths: they are the same in every sandbox and without one. */
function repositoriesWords(repositories: PromptParts["repositories"]): string {
  const lines = repositories.map(
    ({ name, access }) =>
      `- ${pathOfRepository(name)}: ${access === "write" ? "yours to change; what you leave there becomes a branch of it" : "only to be read"}`,
  );
  return `Further git repositories belong to the task. They lie beside your working directory:\n\n${lines.join("\n")}`;
}

/** Where an agent finds a further repository, from its workspace on. */
export function pathOfRepository(name: string): string {
  return `../repositories/${name}`;
}

/** A block of JSON that nothing in it can end: its fence is longer than any row of backticks inside. */
function fenced(json: string): string {
  const longest = Math.max(2, ...Array.from(json.matchAll(/`+/g), ([row]) => row.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}json\n${json}\n${fence}`;
}

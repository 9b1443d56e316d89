/** What a request tells about where the work stands, all of it since the person's last message. */
export interface Conversation {
  readonly task: string;
  /** How many times the model has asked for tools and got its results. */
  readonly turnsDone: number;
  /** What tools gave back, by tool, in order. */
  readonly results: readonly { readonly tool: string; readonly text: string }[];
  /** The tools that the agent offers. */
  readonly tools: ReadonlySet<string>;
}

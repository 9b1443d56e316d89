/** Exit codes of every command. */
export const EXIT = {
  ok: 0,
  /** The run, or the command, failed. */
  failed: 1,
  /** The command line was wrong. */
  usage: 2,
  /** Refused or rejected: a run that was cancelled, a request that the server does not allow. */
  refused: 3,
  notAuthorised: 4,
  interrupted: 130,
} as const;

/** An error that is only for the person at the terminal: what happened, and what to do about it. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: number;
  /** What to do, in a sentence; null where the message says it all. */
  readonly advice: string | null;

  constructor(message: string, options: { readonly advice?: string; readonly exitCode?: number } = {}) {
    super(message);
    this.advice = options.advice ?? null;
    this.exitCode = options.exitCode ?? EXIT.failed;
  }
}

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

/** An error that is only for the person at the terminal: its message is all there is to say. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: number;
  constructor(message: string, exitCode: number = EXIT.failed) {
    super(message);
    this.exitCode = exitCode;
  }
}

/**
 * A stop that is no fault of the program: its message is all that the user needs to see.
 */
export class SetUpError extends Error {
  /**
   * @param {string} message plain sentences: what is wrong and what to do
   * @param {number} exitCode
   */
  constructor(message, exitCode = 1) {
    super(message);
    this.name = "SetUpError";
    this.exitCode = exitCode;
  }
}

/**
 * One line of progress. Everything that set-up tells goes to stderr: stdout belongs to the program that follows.
 * @param {string} line
 */
export function say(line) {
  process.stderr.write(`${line}\n`);
}

import pg from "pg";

/**
 * The database does not answer, or the connection was lost in the middle of work. Trying again can help.
 * `mayHaveCommitted` is true when the connection went after the commit had been sent: what was
 * asked for may be done or not, and only a look at the data tells.
 */
export class DatabaseUnavailableError extends Error {
  override readonly name = "DatabaseUnavailableError";
  readonly mayHaveCommitted: boolean;

  constructor(message: string, options: { cause: unknown; mayHaveCommitted: boolean }) {
    super(message, { cause: options.cause });
    this.mayHaveCommitted = options.mayHaveCommitted;
  }
}

/** SQLSTATEs after which the connection, and often the server, is gone. */
const LOST_STATES = new Set(["57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "53300"]);
/** SQLSTATEs of a server that lacks disk or memory, or cannot read its files: it rolled the work back, and can do it once it has them. */
const SHORT_STATES = new Set(["53000", "53100", "53200", "58030"]);
const LOST_MESSAGE = /^Connection terminated|not queryable|^timeout (expired|exceeded)/;
const WHAT_TO_DO: Readonly<Record<string, string>> = {
  "28P01": "the password in DATABASE_URL is wrong",
  "28000": "the server's pg_hba.conf or DATABASE_URL does not let this user in",
  "3D000": "create that database, or correct DATABASE_URL",
  "22023": "the roles of Runyard are missing in this server: they are made by its migrations",
  "42501": "this user may not act as the role runyard_app: as an administrator, run `grant runyard_app to` this user",
  "53100": "the disk of the database is full: make room on it",
  "53300": "the server has no connection left: raise its max_connections",
};

/** A failure to connect, as the error that callers see. */
export function connectError(error: unknown): DatabaseUnavailableError {
  const advice =
    (error instanceof pg.DatabaseError ? WHAT_TO_DO[error.code ?? ""] : undefined) ??
    "check that PostgreSQL runs and that DATABASE_URL, where it is set, is right; `runyard up` starts the built-in one again";
  return new DatabaseUnavailableError(`The database cannot be reached (${reasonOf(error)}): ${advice}.`, {
    cause: error,
    mayHaveCommitted: false,
  });
}

/**
 * A failure of a statement: a lost connection, or a server that lacks disk or memory, becomes a
 * `DatabaseUnavailableError`; anything else stays what it is.
 */
export function statementError(error: unknown, mayHaveCommitted: boolean): unknown {
  if (error instanceof pg.DatabaseError && SHORT_STATES.has(error.code ?? "")) {
    const advice = WHAT_TO_DO[error.code ?? ""] ?? "look into its log";
    return new DatabaseUnavailableError(`The database could not do this (${reasonOf(error)}), and nothing was changed: ${advice}.`, {
      cause: error,
      mayHaveCommitted: false,
    });
  }
  if (!isLostConnection(error)) return error;
  const state = mayHaveCommitted ? "; whether this change was made is not known" : "; nothing was changed";
  return new DatabaseUnavailableError(
    `The connection to the database was lost (${reasonOf(error)})${state}. It is made again at the next call.`,
    { cause: error, mayHaveCommitted },
  );
}

/**
 * Whether the same work may simply be done again: a serialization failure or a deadlock rolled it back,
 * or a migration changed a table under a prepared statement.
 */
export function isWorthRepeating(error: unknown): boolean {
  if (!(error instanceof pg.DatabaseError)) return false;
  return error.code === "40001" || error.code === "40P01" || isStalePlan(error);
}

/** Whether a connection must not be used again after this failure: it is lost, or holds a plan of a table that changed. */
export function isUnusableAfter(error: unknown): boolean {
  return error instanceof DatabaseUnavailableError || (error instanceof pg.DatabaseError && isStalePlan(error));
}

function isStalePlan(error: pg.DatabaseError): boolean {
  return error.code === "0A000" && error.message.startsWith("cached plan must not change result type");
}

function isLostConnection(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return LOST_STATES.has(error.code ?? "") || (error.code ?? "").startsWith("08");
  return error instanceof Error && ("syscall" in error || LOST_MESSAGE.test(error.message));
}

function reasonOf(error: unknown): string {
  // A name with several addresses fails with one error for each, and no message of its own.
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join(", ");
  return error instanceof Error ? error.message : String(error);
}

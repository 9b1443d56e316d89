/** A request that the gateway answers by itself, with an error: the message is read by agents and by people. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly status: number;
  /** Short and stable, for programs. */
  readonly code: string;
  /** After how many seconds trying again may help; null: it will not. */
  readonly retryAfterSeconds: number | null;

  constructor(status: number, code: string, options: { message: string; retryAfterSeconds?: number }) {
    super(options.message);
    this.status = status;
    this.code = code;
    this.retryAfterSeconds = options.retryAfterSeconds ?? null;
  }
}

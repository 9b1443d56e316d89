/** No usable answer: `sent` tells whether the provider may have seen the request. The message is a plain sentence. */
export class UpstreamFailure extends Error {
  override readonly name = "UpstreamFailure";
  readonly sent: boolean;

  constructor(message: string, options: { sent: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.sent = options.sent;
  }
}

/** A pull request as its page's URL names it. */
export interface PullRequestUrl {
  /** Without what stands behind its number. */
  readonly href: string;
  /** The same for every way to write it: names at GitHub are the same in capital and small letters. */
  readonly key: string;
  /** The page of its repository, in lower case. */
  readonly repository: string;
  readonly number: number;
}

const FORM = /^(https?:\/\/[^\s/?#@]+\/[\w.-]+\/[\w.-]+)\/pull\/([1-9]\d{0,9})(?:[/?#]\S*)?$/i;

/** Null: it is the URL of no pull request. */
export function parsePullRequestUrl(text: string): PullRequestUrl | null {
  const [, repository, number] = FORM.exec(text.trim()) ?? [];
  if (repository === undefined || number === undefined) return null;
  const href = `${repository}/pull/${number}`;
  return { href, key: href.toLowerCase(), repository: repository.toLowerCase(), number: Number(number) };
}

/** Stands behind a sign that would begin a mention or a reference; it is not seen. */
const BREAK = "\u200b";

/** Everything that is no text: control characters but line break and tab, what turns the direction of text around, and what is not seen. */
const NOT_TEXT =
  // oxlint-disable-next-line no-control-regex -- control characters are what it must find
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|[\u{e0000}-\u{e007f}]/gu;

/** Text without what is no text: what is left can be shown. */
export function plainText(text: string): string {
  return text.replaceAll(/\r\n?/g, "\n").replaceAll(NOT_TEXT, "");
}

/** The same on one line, at most so many characters long. */
export function plainLine(text: string, longest: number): string {
  const line = plainText(text).replaceAll(/\s+/g, " ").trim();
  const letters = Array.from(line);
  return letters.length <= longest ? line : `${letters.slice(0, longest - 1).join("")}…`;
}

/**
 * Text in which nothing notifies anybody, refers to anything or closes it: `@name`, `#12`, `GH-12`, `owner/repository#12`,
 * addresses of issues. Nothing that can be read is lost.
 */
export function withoutReferences(text: string): string {
  return withoutMentions(text, /@(?=[^\s\u200b])/g);
}

function withoutMentions(text: string, mention: RegExp): string {
  return text
    .replaceAll(mention, `@${BREAK}`)
    .replaceAll(/#(?=\d)/g, `#${BREAK}`)
    .replaceAll(/(GH)-(?=\d)/gi, `$1-${BREAK}`)
    .replaceAll(/\/(issues|pull|pulls|discussions|commit)\/(?=[0-9a-f])/gi, `/$1/${BREAK}`);
}

/** By these words in a commit's message GitHub leaves out the checks of it. */
const NO_CHECKS = /\[(?=(?:skip ci|ci skip|no ci|skip actions|actions skip)\])|^skip-checks(?=:)/gim;

/**
 * The message of a commit without references, and without words that keep it from being checked. Addresses of mail are no
 * mentions there, and who wrote it stays as it is.
 */
export function neutralMessage(text: string): string {
  return withoutMentions(text, /(?<!\w)@(?=[^\s\u200b])/g).replaceAll(NO_CHECKS, `$&${BREAK}`);
}

/**
 * Text of an agent as Markdown that shows it and does nothing else: no HTML (so no hidden mark either), no entity that would
 * become one of the signs below, no image that would be fetched, no link that hides where it leads, and no references unless
 * they are allowed. It is broken up, not escaped: what is in code is shown as it is.
 */
export function neutralMarkdown(text: string, { allowReferences }: { readonly allowReferences: boolean }): string {
  const shown = plainText(text)
    .replaceAll(/&(?=[#a-z])/gi, `&${BREAK}`)
    .replaceAll(/<(?=[a-z!?/])/gi, `<${BREAK}`)
    .replaceAll("![", `!${BREAK}[`)
    .replaceAll(/\](?=[([:])/g, `]${BREAK}`);
  return allowReferences ? shown : withoutReferences(shown);
}

/** The same of one line, as titles are: they are no Markdown. */
export function neutralLine(
  text: string,
  { allowReferences, longest }: { readonly allowReferences: boolean; readonly longest: number },
): string {
  const line = plainLine(text, longest);
  return allowReferences ? line : withoutReferences(line);
}

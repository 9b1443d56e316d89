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
 * addresses of issues; and nothing tells workflows not to run: `[skip ci]`. Nothing that can be read is lost.
 */
export function withoutReferences(text: string): string {
  return withoutMentions(text, /[@\uff20\ufe6b](?=[^\s\u200b])/g);
}

function withoutMentions(text: string, mentions: RegExp): string {
  return text
    .replaceAll(mentions, `$&${BREAK}`)
    .replaceAll(/[#\uff03\ufe5f](?=\d)/g, `$&${BREAK}`)
    .replaceAll(/&(?=#|commat|num)/gi, `&${BREAK}`)
    .replaceAll(/\[(?=(?:skip ci|ci skip|no ci|skip actions|actions skip)\])/gi, `[${BREAK}`)
    .replaceAll(/\*{3}(?=NO_CI)/gi, `***${BREAK}`)
    .replaceAll(/(GH)-(?=\d)/gi, `$1-${BREAK}`)
    .replaceAll(/\/(issues|pull|pulls|discussions|commit)\/(?=[0-9a-f])/gi, `/$1/${BREAK}`);
}

/** What steers a terminal or turns text around; also in a name or a message that keeps its other invisible signs. */
// oxlint-disable-next-line no-control-regex -- control characters are what it must find
const STEERING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;
/** The same of bytes that are no UTF-8: what is above ASCII is some letter there. */
// oxlint-disable-next-line no-control-regex -- control characters are what it must find
const STEERING_BYTES = /[\u0000-\u0008\u000b-\u001f\u007f]/g;

/** Lines that others act on: who is credited or vouches for a commit, which run made it, and whether it is checked. */
const CLAIM = /^[ \t]*(?:[a-z][a-z-]*-(?=by[ \t]*:)|on-behalf-(?=of[ \t]*:)|runyard-(?=run[ \t]*:)|skip-(?=checks[ \t]*:))/i;

export interface NeutralMessageOptions {
  /** Lines of that kind that are true: they stay. */
  readonly claims: readonly string[];
  /** Default: it is UTF-8. */
  readonly isBytes?: boolean;
}

/**
 * The message of a commit without references, and without claims that nobody but its author makes: `Co-authored-by`,
 * `Signed-off-by` and their like. Addresses of mail are no mentions there.
 */
export function neutralMessage(text: string, { claims, isBytes = false }: NeutralMessageOptions): string {
  const shown = withoutMentions(
    text.replaceAll(isBytes ? STEERING_BYTES : STEERING, ""),
    /(?<!\w)[@\uff20\ufe6b](?=[^\s\u200b])|@(?=[\da-f]{7,64}(?![.\w-]))/g,
  );
  return shown
    .split("\n")
    .map((line) => (claims.includes(line) ? line : line.replace(CLAIM, `$&${BREAK}`)))
    .join("\n");
}

/** A line of a commit that says who made it, with nothing in it that steers a terminal. */
export function neutralIdentity(line: string, { isBytes = false }: { readonly isBytes?: boolean } = {}): string {
  return line.replaceAll(isBytes ? STEERING_BYTES : STEERING, "");
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
    .replaceAll(/\](?=[([:])/g, `]${BREAK}`)
    // Boxes of notices and tasks, and blocks that are drawn: diagrams and formulas can hold links.
    .replaceAll(/^[> \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)*\[(?=![a-z]|[ x]\])/gim, `$&${BREAK}`)
    .replaceAll(/^[ \t>*+\-\d.)]*(?:`{3,}|~{3,})[ \t]*(?=mermaid|geojson|topojson|stl|math)/gim, `$&${BREAK}`)
    .replaceAll(/\$(?=[$`])/g, `$$${BREAK}`)
    .replaceAll(/\\(?=href|url)/gi, `\\${BREAK}`);
  return allowReferences ? shown : withoutReferences(shown);
}

/** The same of one line, as titles are: they are no Markdown. */
export function neutralLine(
  text: string,
  { allowReferences, longest }: { readonly allowReferences: boolean; readonly longest: number },
): string {
  const line = plainLine(text, longest);
  // What is broken up is longer than it was.
  return allowReferences ? line : Array.from(withoutReferences(line)).slice(0, longest).join("");
}

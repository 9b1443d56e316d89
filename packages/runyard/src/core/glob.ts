/** What the wildcards of a pattern stand for. */
export interface GlobRules {
  /** True where the pattern is a path: `*` and `?` then stay within one name, and `**` goes through folders. */
  readonly isPath: boolean;
  /** Characters that only stand for themselves: no wildcard matches them. */
  readonly literalOnly?: ReadonlySet<string>;
}

/** One step of a compiled pattern: take a character, or go on at several places at once. */
type Step =
  | { readonly take: string }
  | { readonly take: "any"; readonly acrossFolders: boolean }
  | { readonly goTo: readonly number[] }
  | { readonly end: true };

/**
 * True when the whole text fits the pattern: `*` any characters, `?` one, `{a,b}` either, `\` takes the next
 * character as it is; see `GlobRules` for `**`. All places where the text could stand in the pattern are followed at
 * once, so the time is at most the product of both lengths, whatever they hold.
 */
export function matchesGlob(pattern: string, text: string, rules: GlobRules): boolean {
  const steps = compile(pattern, rules);
  const walk: Walk = { steps, seenAt: new Int32Array(steps.length).fill(-1), open: [] };
  let places: number[] = [];
  let reached: number[] = [];
  reach(walk, { place: 0, at: 0 }, places);
  let at = 0;
  for (const char of text) {
    at += 1;
    reached.length = 0;
    for (const place of places) if (takes(steps[place], char, rules)) reach(walk, { place: place + 1, at }, reached);
    if (reached.length === 0) return false;
    [places, reached] = [reached, places];
  }
  return places.includes(steps.length - 1);
}

/** The text as a pattern that matches it alone. */
export function escapeGlob(text: string): string {
  return text.replaceAll(/[\\*?{},]/g, "\\$&");
}

interface Walk {
  readonly steps: readonly Step[];
  /** For every place, behind how many characters it was reached last. */
  readonly seenAt: Int32Array;
  readonly open: number[];
}

/** Adds the places from here on that take a character, or are the end; each once for every `at`. */
function reach({ steps, seenAt, open }: Walk, from: { readonly place: number; readonly at: number }, places: number[]): void {
  open.push(from.place);
  for (let place = open.pop(); place !== undefined; place = open.pop()) {
    if (seenAt[place] === from.at) continue;
    seenAt[place] = from.at;
    const step = steps[place];
    if (step !== undefined && "goTo" in step) open.push(...step.goTo);
    else places.push(place);
  }
}

function takes(step: Step | undefined, char: string, rules: GlobRules): boolean {
  if (step === undefined || !("take" in step)) return false;
  if (!("acrossFolders" in step)) return step.take === char;
  if (rules.literalOnly?.has(char) === true) return false;
  return !rules.isPath || step.acrossFolders || char !== "/";
}

function compile(pattern: string, rules: GlobRules): Step[] {
  const source: Source = { chars: Array.from(pattern), groups: new Set(), isPath: rules.isPath, at: 0, isNameStart: true };
  findGroups(source);
  const steps: Step[] = [];
  compileUntil(source, steps, false);
  steps.push({ end: true });
  return steps;
}

interface Source {
  readonly chars: readonly string[];
  /** Where the braces stand that hold alternatives; all others are characters like any. */
  readonly groups: Set<number>;
  readonly isPath: boolean;
  at: number;
  /** A file's or folder's name begins here: at the beginning, and behind a `/`. */
  isNameStart: boolean;
}

/** A group is a pair of braces with a comma between them that belongs to no inner pair. */
function findGroups({ chars, groups }: Source): void {
  const open: { readonly at: number; hasComma: boolean }[] = [];
  for (let at = 0; at < chars.length; at++) {
    const innermost = open.at(-1);
    if (chars[at] === "\\") at += 1;
    else if (chars[at] === "{") open.push({ at, hasComma: false });
    else if (chars[at] === "," && innermost !== undefined) innermost.hasComma = true;
    else if (chars[at] === "}" && open.pop()?.hasComma === true && innermost !== undefined) groups.add(innermost.at).add(at);
  }
}

/** Up to the end of the pattern, or in a group up to the end of the alternative. */
function compileUntil(source: Source, steps: Step[], inGroup: boolean): void {
  for (let char = source.chars[source.at]; char !== undefined; char = source.chars[source.at]) {
    if (inGroup && (char === "," || (char === "}" && source.groups.has(source.at)))) return;
    if (char === "{" && source.groups.has(source.at)) compileGroup(source, steps);
    else if (char === "*") compileStars(source, steps);
    else if (char === "/" && source.isPath && isAllBelow(source, inGroup)) compileAllBelow(source, steps);
    else compileOne(source, steps, char);
  }
}

function compileOne(source: Source, steps: Step[], char: string): void {
  const escaped = char === "\\" ? source.chars[source.at + 1] : undefined;
  source.at += escaped === undefined ? 1 : 2;
  steps.push(escaped === undefined && char === "?" ? { take: "any", acrossFolders: false } : { take: escaped ?? char });
  source.isNameStart = (escaped ?? char) === "/";
}

function compileGroup(source: Source, steps: Step[]): void {
  const { isNameStart } = source;
  const begin = steps.push({ goTo: [] }) - 1;
  const starts: number[] = [];
  const ends: number[] = [];
  do {
    source.at += 1;
    source.isNameStart = isNameStart;
    starts.push(steps.length);
    compileUntil(source, steps, true);
    ends.push(steps.push({ goTo: [] }) - 1);
  } while (source.chars[source.at] === ",");
  source.at += 1;
  source.isNameStart = false;
  steps[begin] = { goTo: starts };
  for (const end of ends) steps[end] = { goTo: [steps.length] };
}

/** `*`, or `**`, which in a path may stand for no folder at all. */
function compileStars(source: Source, steps: Step[]): void {
  const { chars, at, isNameStart } = source;
  let end = at;
  while (chars[end] === "*") end += 1;
  const acrossFolders = end - at > 1;
  const mayBeNone = source.isPath && acrossFolders && isNameStart && chars[end] === "/";
  source.at = mayBeNone ? end + 1 : end;
  source.isNameStart = mayBeNone;
  if (!mayBeNone) return compileLoop(steps, acrossFolders);
  const begin = steps.push({ goTo: [] }) - 1;
  compileLoop(steps, true);
  steps.push({ take: "/" });
  steps[begin] = { goTo: [begin + 1, steps.length] };
}

/** Any number of characters. */
function compileLoop(steps: Step[], acrossFolders: boolean): void {
  const begin = steps.length;
  steps.push({ goTo: [begin + 1, begin + 3] }, { take: "any", acrossFolders }, { goTo: [begin] });
}

/** `/**` at the end: the folder itself and all below it. */
function isAllBelow({ chars, at, groups }: Source, inGroup: boolean): boolean {
  if (chars[at + 1] !== "*" || chars[at + 2] !== "*") return false;
  const next = chars[at + 3];
  return next === undefined || (inGroup && (next === "," || groups.has(at + 3)));
}

function compileAllBelow(source: Source, steps: Step[]): void {
  source.at += 3;
  source.isNameStart = false;
  const begin = steps.push({ goTo: [] }) - 1;
  steps.push({ take: "/" });
  compileLoop(steps, true);
  steps[begin] = { goTo: [begin + 1, steps.length] };
}

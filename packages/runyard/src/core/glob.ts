/** What the wildcards of a pattern stand for. */
export interface GlobRules {
  /** True where the pattern is a path: `*` and `?` then stay within one name, and `**` goes through folders. */
  readonly isPath: boolean;
  /** Characters that only stand for themselves: no wildcard matches them. */
  readonly literalOnly?: ReadonlySet<string>;
}

/** One step of a compiled pattern, always of this shape: matching is quick where all steps look alike. */
interface Step {
  /** A character's code point, or one of the below. */
  readonly take: number;
  /** Takes any number of characters: it may be taken again, and left without. */
  readonly isLoop: boolean;
  /** Where to go on from here without a character. */
  readonly goTo: readonly number[];
}
/** `*` and `?`, which in a path stay within one name. */
const ONE_NAME = -1;
/** `**` */
const ACROSS_FOLDERS = -2;
/** No wildcard; as a step, one that only goes on. */
const NOTHING = -3;

/**
 * True when the whole text fits the pattern: `*` any characters, `?` one, `{a,b}` either, `\` takes the next
 * character as it is; see `GlobRules` for `**`. All places where the text could stand in the pattern are followed at
 * once, so the time is at most the product of both lengths, whatever they hold.
 */
export function matchesGlob(pattern: string, text: string, rules: GlobRules): boolean {
  return globMatcher(pattern, rules)(text);
}

/** The same for many texts: the pattern is read once. */
export function globMatcher(pattern: string, rules: GlobRules): (text: string) => boolean {
  const steps = compile(pattern, rules);
  return (text) => {
    const walk = startWalk(steps);
    reach(walk, 0);
    for (const char of text) {
      takeCharacter(walk, char, rules);
      if (walk.places.length === 0) return false;
    }
    return walk.places.includes(walk.steps.length);
  };
}

/** The text as a pattern that matches it alone. */
export function escapeGlob(text: string): string {
  return text.replaceAll(/[\\*?{},]/g, "\\$&");
}

/** Where a text stands in a pattern, behind some of its characters. */
interface Walk {
  readonly steps: readonly Step[];
  /** What each step takes, and the end nothing. */
  readonly takes: Int32Array;
  /** Behind how many characters each place was reached last. */
  readonly seenAt: Int32Array;
  at: number;
  places: number[];
  /** Those of one character before; the two lists change places. */
  before: number[];
}

function startWalk(steps: readonly Step[]): Walk {
  const takes = Int32Array.from([...steps.map((step) => step.take), NOTHING]);
  return { steps, takes, seenAt: new Int32Array(takes.length).fill(-1), at: 0, places: [], before: [] };
}

/** Goes on from all places that take this character. */
function takeCharacter(walk: Walk, char: string, rules: GlobRules): void {
  const { steps, takes } = walk;
  const code = char.codePointAt(0);
  // The widest step that takes it; the wildcards are numbered so that all between it and NOTHING do.
  const widest = rules.literalOnly?.has(char) === true ? NOTHING : rules.isPath && char === "/" ? ACROSS_FOLDERS : ONE_NAME;
  [walk.places, walk.before] = [walk.before, walk.places];
  walk.places.length = 0;
  walk.at += 1;
  for (const place of walk.before) {
    const taken = takes[place] as number;
    if (taken === code) reach(walk, place + 1);
    else if (taken > NOTHING && taken <= widest) reach(walk, steps[place]?.isLoop === true ? place : place + 1);
  }
}

/** Adds the places from here on that take a character, or are the end; each once for every character. */
function reach(walk: Walk, from: number): void {
  if (walk.seenAt[from] === walk.at) return;
  walk.seenAt[from] = walk.at;
  const step = walk.steps[from];
  if (step?.take !== NOTHING) walk.places.push(from);
  if (step === undefined || step.take >= 0) return;
  if (step.isLoop) reach(walk, from + 1);
  for (const place of step.goTo) reach(walk, place);
}

function compile(pattern: string, rules: GlobRules): Step[] {
  const source: Source = { chars: Array.from(pattern), groups: new Set(), isPath: rules.isPath, at: 0, isNameStart: true };
  findGroups(source);
  const steps: Step[] = [];
  compileUntil(source, steps, false);
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
  const isWild = escaped === undefined && char === "?";
  steps.push(isWild ? { take: ONE_NAME, isLoop: false, goTo: [] } : literal(escaped ?? char));
  source.isNameStart = (escaped ?? char) === "/";
}

function compileGroup(source: Source, steps: Step[]): void {
  const { isNameStart } = source;
  const begin = steps.push(goTo([])) - 1;
  const starts: number[] = [];
  const ends: number[] = [];
  do {
    source.at += 1;
    source.isNameStart = isNameStart;
    starts.push(steps.length);
    compileUntil(source, steps, true);
    ends.push(steps.push(goTo([])) - 1);
  } while (source.chars[source.at] === ",");
  source.at += 1;
  source.isNameStart = false;
  steps[begin] = goTo(starts);
  for (const end of ends) steps[end] = goTo([steps.length]);
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
  const begin = steps.push(goTo([])) - 1;
  compileLoop(steps, true);
  steps.push(literal("/"));
  steps[begin] = goTo([begin + 1, steps.length]);
}

/** Any number of characters. */
function compileLoop(steps: Step[], acrossFolders: boolean): void {
  steps.push({ take: acrossFolders ? ACROSS_FOLDERS : ONE_NAME, isLoop: true, goTo: [] });
}

function literal(char: string): Step {
  return { take: char.codePointAt(0) as number, isLoop: false, goTo: [] };
}

function goTo(places: readonly number[]): Step {
  return { take: NOTHING, isLoop: false, goTo: places };
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
  const begin = steps.push(goTo([])) - 1;
  steps.push(literal("/"));
  compileLoop(steps, true);
  steps[begin] = goTo([begin + 1, steps.length]);
}

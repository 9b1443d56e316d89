/** An object's name: 40 digits (SHA-1) or 64 (SHA-256). */
const OBJECT_NAME = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;
const RUN_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** What git refuses in a ref's name, besides what `isBranchName` looks for itself; and what turns a line of text around. */
// oxlint-disable-next-line no-control-regex -- control characters are what it must find
const UNFIT = /[\u0000-\u0020\u007f-\u009f\u202a-\u202e\u2066-\u2069~^:?*[\\]|\.\.|@\{|\/\/|\/$|\.$|(?:^|\/)\.|\.lock(?:\/|$)/;

export function isObjectName(value: string): boolean {
  return OBJECT_NAME.test(value);
}

/** Throws when a value that goes into a command is not an object's full name. */
export function requireObjectName(value: string): string {
  if (!isObjectName(value)) throw new Error(`${JSON.stringify(value)} is not the full name of a commit`);
  return value;
}

/** True for a branch name that git takes and that no command can mistake for an option. */
export function isBranchName(value: string): boolean {
  return value !== "" && value !== "@" && value.length <= 250 && !/^[-/]/.test(value) && !UNFIT.test(value);
}

/** A name as a message can hold it, whatever it is. */
export function quotedName(value: string): string {
  const steering = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
  return JSON.stringify(value.slice(0, 250)).replaceAll(steering, (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`);
}

export function requireBranchName(value: string): string {
  if (!isBranchName(value)) throw new Error(`${quotedName(value)} is not a branch name`);
  return value;
}

/** In the cache: the commit that a run starts from. */
export function baseRef(runId: string): string {
  return `refs/runyard/base/${requireRunId(runId)}`;
}

/** In the cache: what the base of a run's branch was when it was last brought in. */
export function ontoRef(runId: string): string {
  return `refs/runyard/onto/${requireRunId(runId)}`;
}

/** In the cache: what a run has made. */
export function resultRef(runId: string): string {
  return `refs/runyard/result/${requireRunId(runId)}`;
}

function requireRunId(runId: string): string {
  if (!RUN_ID.test(runId)) throw new Error(`${JSON.stringify(runId)} is not a run's id`);
  return runId;
}

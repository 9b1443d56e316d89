import { RunyardError } from "@runyard/sdk/contract";
import type { z } from "zod";

/** Most entries of `errors`, and most characters of what a client wrote that go back to it. */
const MAX_ERRORS = 20;
const MAX_ECHO_CHARS = 200;

interface FieldError {
  readonly path: string;
  readonly message: string;
}

/**
 * What a schema makes of a client's value, or `invalid_request` with one entry for each field.
 * Text with NUL or half a surrogate pair is refused everywhere: no database and no file takes it.
 */
export function validate<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw invalid(parsed.error.issues.flatMap(describe));
  const broken = unstorable(parsed.data, []);
  if (broken !== undefined) throw invalid([{ path: pathText(broken), message: "must not contain NUL characters or broken Unicode" }]);
  return parsed.data;
}

/** The query as an object; a name that stands twice is refused, because readers differ on which one counts. */
export function queryOf(url: string): Record<string, string> {
  const query: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [name, value] of new URL(url).searchParams) {
    if (Object.hasOwn(query, name)) throw invalid([{ path: cut(name), message: "is given more than once" }]);
    query[name] = value;
  }
  return { ...query };
}

export function invalid(errors: readonly FieldError[]): RunyardError {
  const shown = errors.slice(0, 3).map((error) => (error.path === "$" ? error.message : `${error.path}: ${error.message}`));
  const more = errors.length > shown.length ? `; and ${errors.length - shown.length} more` : "";
  return new RunyardError("invalid_request", `${shown.join("; ")}${more}`, { errors: errors.slice(0, MAX_ERRORS) });
}

function describe(issue: z.core.$ZodIssue): FieldError[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.slice(0, MAX_ERRORS).map((key) => ({ path: pathText([...issue.path, key]), message: "is not known here" }));
  }
  // What is wrong with a name, in the words of its own schema.
  if (issue.code === "invalid_key") return issue.issues.map(({ message }) => ({ path: pathText(issue.path), message: cut(message) }));
  const missing = issue.code === "invalid_type" && issue.message.endsWith("received undefined");
  return [{ path: pathText(issue.path), message: missing ? "is required" : cut(issue.message) }];
}

/** `agent.command[3]`; `$` for the whole. */
function pathText(path: readonly PropertyKey[]): string {
  const text = path.map((key) => (typeof key === "number" ? `[${key}]` : `.${cut(String(key))}`)).join("");
  return text === "" ? "$" : text.replace(/^\./, "");
}

function cut(text: string): string {
  return text.length <= MAX_ECHO_CHARS ? text : `${text.slice(0, MAX_ECHO_CHARS)}…`;
}

/** Where the first string stands that cannot be stored; the schema has bounded the depth before. */
function unstorable(value: unknown, path: readonly PropertyKey[]): readonly PropertyKey[] | undefined {
  if (typeof value === "string") return value.includes("\0") || /\p{Surrogate}/u.test(value) ? path : undefined;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    const found = unstorable(inner, [...path, Array.isArray(value) ? Number(key) : key]);
    if (found !== undefined) return found;
  }
  return undefined;
}

// What GitHub's public OpenAPI description says of the operations that are used: the fake of GitHub is held to it on both sides.
// The description lies beside this file as an extract that scripts/github-openapi/main.ts makes.
import { readFileSync } from "node:fs";
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import ajvFormats from "ajv-formats";

/** A schema of OpenAPI 3.0, as far as the extract needs it. */
interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly nullable?: boolean;
  readonly enum?: readonly unknown[];
  readonly format?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: unknown;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
}

interface Content {
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}

interface Parameter {
  readonly $ref?: string;
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required?: boolean;
  readonly schema: Schema;
}

interface DescribedOperation {
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: Content & { readonly required?: boolean };
  readonly responses: Readonly<Record<string, Content & { readonly $ref?: string }>>;
}

interface Description {
  readonly paths: Readonly<Record<string, Readonly<Record<string, DescribedOperation>>>>;
  readonly components: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** What somebody asks the fake for. */
export interface AskedGithub {
  readonly method: string;
  /** Below the API's beginning, as `/repos/acme/app/pulls`. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly contentType: string | undefined;
  /** The text of the body; empty: there is none. */
  readonly body: string;
}

export interface GithubOperation {
  /** What is wrong with a request, one sentence for each fault. */
  faults(asked: AskedGithub): string[];
  /**
   * An answer with everything that GitHub says is always there; what `data` says of it stays. Throws where the answer is none
   * that GitHub describes. `knowsBetter` is for values that GitHub gives and does not describe.
   */
  answer(status: number, data: unknown, knowsBetter?: (fault: ErrorObject) => boolean): unknown;
}

const description = JSON.parse(readFileSync(new URL("./github-openapi.json", import.meta.url), "utf8")) as Description;
const ROOT = "github";

const ajv = ajvFormats.default(new Ajv({ strict: false, allErrors: true }));
ajv.addFormat("repo.nwo", /^[^/]+\/[^/]+$/);
ajv.addSchema({ $id: ROOT, components: closed(description.components, "components") });
/** Of paths and queries, where all values are texts. */
const ajvOfTexts = ajvFormats.default(new Ajv({ strict: false, allErrors: true, coerceTypes: true }));

function find<T extends object>(value: T & { readonly $ref?: string }): T {
  if (value.$ref === undefined) return value;
  const [, , kind = "", name = ""] = value.$ref.split("/");
  return description.components[kind]?.[name] as T;
}

/** The operation that a request is for; null: GitHub describes none, or it is not in the extract. */
export function githubOperation({ method, path }: Pick<AskedGithub, "method" | "path">): GithubOperation | null {
  const parts = path.split("/");
  for (const [template, operations] of Object.entries(description.paths)) {
    const names = template.split("/");
    const operation = operations[method.toLowerCase()];
    if (operation === undefined || names.length !== parts.length) continue;
    if (!names.every((name, at) => (name.startsWith("{") ? parts[at] !== "" : name === parts[at]))) continue;
    const given = names.flatMap((name, at): [string, string][] => (name.startsWith("{") ? [[name.slice(1, -1), parts[at] ?? ""]] : []));
    return describe(operation, { name: `${method} ${template}`, given: new Map(given) });
  }
  return null;
}

function describe(
  operation: DescribedOperation,
  { name, given }: { readonly name: string; readonly given: ReadonlyMap<string, string> },
): GithubOperation {
  const parameters = (operation.parameters ?? []).map(find<Parameter>);
  return {
    faults({ query, contentType, body }) {
      const known = parameters.filter((one) => one.in === "query").map((one) => one.name);
      const unknown = [...query.keys()].filter((one) => !known.includes(one)).map((one) => `the query has ${one}, which is not known`);
      const values = parameters.flatMap((one) => {
        const value = one.in === "path" ? given.get(one.name) : (query.get(one.name) ?? undefined);
        if (one.in === "header") return [];
        if (value === undefined) return one.required === true ? [`${one.name} is missing`] : [];
        return faultsOf(validatorOf(one.schema, ajvOfTexts), value).map((fault) => `${one.name}${fault}`);
      });
      return [...unknown, ...values, ...bodyFaults(operation, { contentType, body })];
    },
    answer(status, data, knowsBetter = () => false) {
      const described = operation.responses[status];
      if (described === undefined) throw new Error(`GitHub describes no answer ${status} to ${name}`);
      const schema = find(described).content?.["application/json"]?.schema;
      if (schema === undefined) return data;
      const whole = filled(schema, data);
      const faults = faultsOf(validatorOf(schema), whole, knowsBetter);
      if (faults.length > 0) throw new Error(`The fake's answer ${status} to ${name} is not as GitHub describes it: ${faults.join("; ")}`);
      return whole;
    },
  };
}

function bodyFaults({ requestBody }: DescribedOperation, { contentType, body }: Pick<AskedGithub, "contentType" | "body">): string[] {
  const schema = requestBody?.content?.["application/json"]?.schema;
  if (body === "") return requestBody?.required === true ? ["the body is missing"] : [];
  if (schema === undefined) return ["there is a body where none is known"];
  if (contentType?.startsWith("application/json") !== true) return [`the body is said to be ${String(contentType)}`];
  return faultsOf(validatorOf(schema), JSON.parse(body)).map((fault) => `the body${fault}`);
}

const validators = new WeakMap<Schema, ValidateFunction>();

function validatorOf(schema: Schema, by = ajv): ValidateFunction {
  const made = validators.get(schema) ?? by.compile(closed(schema, ""));
  validators.set(schema, made);
  return made;
}

function faultsOf(validate: ValidateFunction, value: unknown, knowsBetter: (fault: ErrorObject) => boolean = () => false): string[] {
  if (validate(value)) return [];
  return (validate.errors ?? [])
    .filter((fault) => !knowsBetter(fault))
    .map(
      ({ instancePath, message, params }) =>
        `${instancePath} ${message}${"additionalProperty" in params ? ` (${String(params["additionalProperty"])})` : ""}`,
    );
}

/** A schema as JSON Schema has it, in which an object has what it is said to have and nothing else. `key`: where it stands. */
function closed(value: Schema, key: string): Schema {
  if (Array.isArray(value)) return value.map((one: Schema) => closed(one, "")) as unknown as Schema;
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([name, one]): [string, unknown] => [
    name,
    name === "$ref" && typeof one === "string" ? one.replace(/^#/, `${ROOT}#`) : closed(one as Schema, key === "properties" ? "" : name),
  ]);
  const made = Object.fromEntries(entries) as Schema;
  // The names in it are GitHub's, and no words of a schema.
  if (key === "properties" || key === "components") return made;
  const shut = made.properties !== undefined && made.additionalProperties === undefined ? { ...made, additionalProperties: false } : made;
  if (shut.nullable !== true) return shut;
  const { nullable: _, ...rest } = shut;
  return { anyOf: [rest, { type: "null" }] };
}

const SAMPLES: Readonly<Record<string, string>> = {
  "date-time": "2026-01-02T03:04:05Z",
  uri: "https://github.example/",
  email: "somebody@example.com",
};

/** A value with everything that a schema requires. */
function filled(asked: Schema, value: unknown): unknown {
  const schema = find<Schema>(asked);
  if (value === null || (value === undefined && schema.nullable === true)) return null;
  const variants = schema.anyOf ?? schema.oneOf;
  if (variants !== undefined) return value === undefined ? filled(variants[0]!, undefined) : value;
  if (Array.isArray(value)) return value.map((one: unknown) => filled(schema.items ?? {}, one));
  if (schema.type === "object" && (value === undefined || typeof value === "object")) {
    const said = { ...(value as Readonly<Record<string, unknown>> | undefined) };
    const names = new Set([...(schema.required ?? []), ...Object.keys(said)]);
    return Object.fromEntries([...names].map((name) => [name, filled(schema.properties?.[name] ?? {}, said[name])]));
  }
  if (value !== undefined) return value;
  if (schema.enum !== undefined) return schema.enum[0];
  if (schema.type === "array") return [];
  if (schema.type === "boolean") return false;
  if (schema.type === "integer" || schema.type === "number") return 1;
  return SAMPLES[schema.format ?? ""] ?? "x";
}

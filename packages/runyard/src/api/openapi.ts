import {
  agentNameSchema,
  API_ERRORS,
  type ApiErrorCode,
  credentialIdSchema,
  exchangeIdSchema,
  permissionIdSchema,
  questionIdSchema,
  repositoryIdSchema,
  type Route,
  type RouteName,
  ROUTES,
  runIdSchema,
  savedAgentIdSchema,
  secretIdSchema,
  snapshotIdSchema,
} from "@runyard/sdk/contract";
import { z } from "zod";
import { NAMED_SCHEMAS, type Operation, OPERATIONS } from "./openapi-operations.ts";

type Json = Readonly<Record<string, unknown>>;

/** What a path's parameters look like; each one is a string. */
const PATH_PARAMETERS: Readonly<Record<string, { readonly schema: z.ZodType; readonly description: string }>> = {
  id: { schema: runIdSchema, description: "A run." },
  rid: { schema: repositoryIdSchema, description: "A repository." },
  aid: { schema: z.union([savedAgentIdSchema, agentNameSchema]), description: "A saved agent: its id or its name." },
  snid: { schema: snapshotIdSchema, description: "A snapshot of what set-up made." },
  cid: { schema: credentialIdSchema, description: "A credential for repositories." },
  sid: { schema: secretIdSchema, description: "A secret." },
  pid: { schema: permissionIdSchema, description: "A permission that is asked for: see `waitingFor` of the run." },
  qid: { schema: questionIdSchema, description: "A question that is asked: see `waitingFor` of the run." },
  xid: { schema: exchangeIdSchema, description: "A model call of the run." },
  path: { schema: z.string(), description: "A file's path from the top of the repository. It may hold slashes." },
  file: { schema: z.string(), description: "One of the page's files." },
};

const REGISTRY = z.registry<{ id: string }>();
for (const [id, schema] of Object.entries(NAMED_SCHEMAS)) REGISTRY.add(schema, { id });

/** The API as OpenAPI 3.1, made from the route table and the schemas that requests are checked with. */
export function openApiDocument(server: { readonly version: string; readonly url: string }): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const [name, route] of Object.entries(ROUTES) as [RouteName, Route][]) {
    (paths[route.path] ??= {})[route.method.toLowerCase()] = operationOf(name, route);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Runyard",
      version: server.version,
      description: "Runs coding agents on your own machines: give a task and a repository, follow the run, take its branch.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: server.url }],
    paths,
    components: {
      schemas: namedSchemas(),
      securitySchemes: {
        token: { type: "http", scheme: "bearer", description: "The first one is in `admin-token` of the server's home." },
        session: {
          type: "apiKey",
          in: "cookie",
          name: `runyard-${new URL(server.url).port || "443"}`,
          description: "A browser's session, from a login link.",
        },
      },
    },
  };
}

function operationOf(name: RouteName, route: Route): Json {
  const operation = OPERATIONS[name];
  const { tag, description, query, headers, body } = operation;
  return {
    operationId: name,
    tags: [tag],
    summary: route.summary,
    ...(description === undefined ? {} : { description }),
    parameters: [
      ...pathParameters(route.path),
      ...(query === undefined ? [] : queryParameters(query)),
      ...(headers === undefined ? [] : headerParameters(headers)),
    ],
    ...(body === undefined ? {} : { requestBody: requestBody(body, !operation.bodyOptional) }),
    responses: { ...pageAnswers(operation), [operation.status]: success(operation), ...problems(errorCodes(route, operation)) },
    security: route.policy === "public" ? [] : [{ token: [route.policy.scope] }, { session: [] }],
  };
}

function requestBody(body: z.ZodType, required: boolean): Json {
  return { required, content: { "application/json": { schema: inputSchema(body) } } };
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => {
    const parameter = PATH_PARAMETERS[name];
    if (parameter === undefined) throw new Error(`The parameter {${name}} of ${path} is described nowhere.`);
    return { name, in: "path", required: true, description: parameter.description, schema: inputSchema(parameter.schema) };
  });
}

function queryParameters(query: z.ZodObject): Json[] {
  const { properties = {}, required = [] } = inputSchema(query) as { properties?: Record<string, Json>; required?: string[] };
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: "query",
    required: required.includes(name),
    ...(description === undefined ? {} : { description }),
    schema,
  }));
}

function headerParameters(headers: NonNullable<Operation["headers"]>): Json[] {
  return Object.entries(headers).map(([name, { schema, description }]) => ({
    name,
    in: "header",
    required: !schema.safeParse(undefined).success,
    description,
    schema: inputSchema(schema),
  }));
}

function headersOf(descriptions: Readonly<Record<string, string>>): Json {
  const headers = Object.entries(descriptions).map(([name, description]) => [name, { description, schema: { type: "string" } }]);
  return headers.length === 0 ? {} : { headers: Object.fromEntries(headers) as Json };
}

function success({ status, answers, answerHeaders = {} }: Operation): Json {
  const content = Object.entries(answers).map(([type, answer]) => [type, { schema: answerSchema(answer) }] as const);
  const description = status === 303 ? "Signed in; go on there." : content.length === 0 ? "Done." : "The answer.";
  return { description, ...headersOf(answerHeaders), ...(content.length === 0 ? {} : { content: Object.fromEntries(content) }) };
}

function pageAnswers({ pages = {} }: Operation): Record<string, Json> {
  const content = { "text/html": { schema: { type: "string" } } };
  return Object.fromEntries(Object.entries(pages).map(([status, description]) => [status, { description, content }]));
}

function answerSchema(answer: Operation["answers"][string]): Json {
  if (answer === "text") return { type: "string" };
  return answer === "bytes" ? {} : outputSchema(answer);
}

/** What can go wrong on a route: of its own, and with every route of its kind. */
export function errorCodes(route: Route, { body, query, errors = [] }: Operation): ApiErrorCode[] {
  const codes: ApiErrorCode[] = [...errors, "foreign_origin", "internal", "unavailable"];
  if (route.policy !== "public") codes.push("unauthorized", "forbidden");
  if (route.path.includes("{id}")) codes.push("run_not_found");
  if (body !== undefined) codes.push("invalid_json", "payload_too_large", "unsupported_media_type", "invalid_request");
  if (query !== undefined) codes.push("invalid_request");
  return [...new Set(codes)];
}

function problems(codes: readonly ApiErrorCode[]): Record<string, Json> {
  return Object.fromEntries(
    [...groupByStatus(codes)].map(([status, group]) => {
      const description = group.map((code) => `\`${code}\`: ${API_ERRORS[code].title}.`).join(" ");
      const schema = { allOf: [{ $ref: "#/components/schemas/Problem" }, { type: "object", properties: { code: { enum: group } } }] };
      const headers = status === 429 || status === 503 ? headersOf({ "Retry-After": "Seconds to wait." }) : {};
      return [String(status), { description, ...headers, content: { "application/problem+json": { schema } } }];
    }),
  );
}

function groupByStatus(codes: readonly ApiErrorCode[]): Map<number, ApiErrorCode[]> {
  const groups = new Map<number, ApiErrorCode[]>();
  for (const code of codes) {
    const { status } = API_ERRORS[code];
    groups.set(status, [...(groups.get(status) ?? []), code]);
  }
  return groups;
}

function namedSchemas(): Json {
  const { schemas } = z.toJSONSchema(REGISTRY, { uri: refTo, override: simplify });
  return Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, plain(schema as Json)]));
}

/** A reference for a schema that has a name, else the schema itself. */
function outputSchema(schema: z.ZodType): Json {
  const id = REGISTRY.get(schema)?.id;
  return id === undefined ? plain(z.toJSONSchema(schema, { override: simplify })) : { $ref: refTo(id) };
}

function inputSchema(schema: z.ZodType): Json {
  return plain(z.toJSONSchema(schema, { io: "input", override: ({ jsonSchema }) => simplifyNumbers(jsonSchema) }));
}

function plain(schema: Json): Json {
  return Object.fromEntries(Object.entries(schema).filter(([key]) => key !== "$schema" && key !== "$id"));
}

function refTo(id: string): string {
  return `#/components/schemas/${id}`;
}

/** Answers grow by addition: that nothing else is in an object now is no promise. */
function simplify({ jsonSchema }: { jsonSchema: Record<string, unknown> }): void {
  if (jsonSchema["additionalProperties"] === false) delete jsonSchema["additionalProperties"];
  if (jsonSchema["format"] === "date-time") delete jsonSchema["pattern"];
  simplifyNumbers(jsonSchema);
}

/** Every integer is a safe one; to say so each time helps nobody. */
function simplifyNumbers(jsonSchema: Record<string, unknown>): void {
  if (jsonSchema["maximum"] === Number.MAX_SAFE_INTEGER) delete jsonSchema["maximum"];
  if (jsonSchema["minimum"] === Number.MIN_SAFE_INTEGER) delete jsonSchema["minimum"];
}

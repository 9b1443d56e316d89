import { emit, rpcLine, type Draft } from "./draft.ts";
import { parseJson, readArray, readLabel, readObject, readText, readWord, type Json, type JsonObject } from "./json.ts";
import type { Answer, RequestPlace } from "./permissions.ts";
import type { NewRequest } from "./state.ts";

const MAX_FIELDS = 32;
const MAX_CHOICES = 100;
const MAX_WORDS_CHARS = 2_000;
const MAX_QUESTION_CHARS = 20_000;
const INVALID_PARAMS = -32602;
const FIELD_TYPES = ["string", "number", "integer", "boolean", "array"] as const;

interface Choice {
  readonly value: string;
  readonly title: string;
}

/** One input of the form that the agent asks to be filled in. */
interface Field {
  readonly name: string;
  readonly type: (typeof FIELD_TYPES)[number];
  readonly title: string;
  readonly required: boolean;
  readonly choices: readonly Choice[];
}

/** A question: a person answers it in plain text, which is put into the form that the agent asks for. */
export function receiveQuestion(draft: Draft, params: JsonObject, place: RequestPlace): void {
  if (params["mode"] !== "form") {
    draft.lines.push(rpcLine({ id: place.rpcId, error: { code: INVALID_PARAMS, message: "Runyard answers forms only" } }));
    return;
  }
  const fields = readFields(params["requestedSchema"]);
  const title = describe(readLabel(params["message"], MAX_QUESTION_CHARS) ?? "The agent asks for an answer.", fields);
  const id = `ask_${draft.spec.attempt}_${place.offset}`;
  emit(draft, { type: "question.asked", data: { questionId: id, question: title } });
  const payload = { fields: fields.map((field) => ({ ...field, choices: field.choices.map((choice) => ({ ...choice })) })) };
  draft.requests.push({ kind: "question", id, ...place, title, toolKind: null, payload });
}

/** The answer of a person. With several fields, a JSON object names them; other text goes into the first that takes it. */
export function questionAnswer(request: NewRequest, answer: string): Answer {
  const content = Object.fromEntries(fillIn(request, answer).map(([field, value]) => [field.name, value ?? answer]));
  return {
    line: rpcLine({ id: request.rpcId, result: { action: "accept", content } }),
    event: { type: "question.answered", data: { questionId: request.id, answer, by: "person" } },
  };
}

/** Why the agent could not use this answer, as a sentence; null when it can. */
export function answerProblem(request: NewRequest, answer: string): string | null {
  const misfit = fillIn(request, answer).find(([, value]) => value === undefined);
  if (!misfit) return null;
  const [field] = misfit;
  return field.choices.length > 0
    ? `${field.title} must be one of: ${listChoices(field)}.`
    : `${field.title} must be of type ${field.type}.`;
}

/** The answer to a question that nobody answers any more. */
export function cancelledQuestion(request: NewRequest): Answer {
  return {
    line: rpcLine({ id: request.rpcId, result: { action: "cancel" } }),
    event: { type: "question.answered", data: { questionId: request.id, answer: null, by: "policy" } },
  };
}

/** Each field that the answer fills, with its value; undefined where the answer does not fit the field. */
function fillIn(request: NewRequest, answer: string): [Field, Json | undefined][] {
  const fields = readStoredFields(request.payload);
  const named = fields.length > 1 ? readObject(parseJson(answer)) : null;
  if (named) return fields.filter((field) => Object.hasOwn(named, field.name)).map((field) => [field, convert(field, named[field.name])]);
  const field = fields.find((one) => one.required && one.type === "string") ?? fields.find((one) => one.type === "string") ?? fields[0];
  return field ? [[field, convert(field, answer)]] : [];
}

function convert(field: Field, value: Json | undefined): Json | undefined {
  if (field.type === "array") {
    const items = typeof value === "string" ? value.split(/[,\n]/).map((item) => item.trim()) : readArray(value);
    const chosen = items.filter((item) => item !== "").map((item) => choose(field, item));
    return chosen.includes(undefined) ? undefined : chosen.flatMap((item) => item ?? []);
  }
  if (field.type === "string") return choose(field, value);
  return convertWord(field, (typeof value === "string" ? value : JSON.stringify(value ?? null)).trim());
}

function convertWord(field: Field, text: string): boolean | number | undefined {
  if (field.type === "boolean") return /^(true|yes|y)$/i.test(text) ? true : /^(false|no|n)$/i.test(text) ? false : undefined;
  const number = text === "" ? Number.NaN : Number(text);
  return Number.isFinite(number) && (field.type === "number" || Number.isInteger(number)) ? number : undefined;
}

/** The choice's value by its value or its title, whatever the case; any text where there are no choices. */
function choose(field: Field, value: Json | undefined): string | undefined {
  if (typeof value !== "string") return undefined;
  if (field.choices.length === 0) return value;
  const wanted = value.trim().toLowerCase();
  return field.choices.find((choice) => choice.value.toLowerCase() === wanted || choice.title.toLowerCase() === wanted)?.value;
}

function describe(message: string, fields: readonly Field[]): string {
  const asked = fields.length > 1 ? fields : fields.filter((field) => field.choices.length > 0);
  const lines = asked.map(
    (field) => `- ${field.title}${fields.length > 1 ? ` (${field.name})` : ""}${field.choices.length > 0 ? `: ${listChoices(field)}` : ""}`,
  );
  return [message, ...lines].join("\n");
}

function listChoices(field: Field): string {
  return field.choices.map((choice) => (choice.title === choice.value ? choice.value : `${choice.value} (${choice.title})`)).join(", ");
}

/** Only flat fields are kept of the schema, as ACP has no others. */
function readFields(schema: Json | undefined): Field[] {
  const properties = readObject(readObject(schema)?.["properties"]) ?? {};
  const required = readArray(readObject(schema)?.["required"]);
  return Object.entries(properties)
    .slice(0, MAX_FIELDS)
    .map(([name, value]) => {
      const property = readObject(value) ?? {};
      const title = readLabel(property["title"], MAX_WORDS_CHARS) ?? readLabel(property["description"], MAX_WORDS_CHARS) ?? name;
      return {
        name,
        title,
        type: readWord(property["type"], FIELD_TYPES) ?? "string",
        required: required.includes(name),
        choices: readChoices(property),
      };
    });
}

function readChoices(property: JsonObject): Choice[] {
  const items = readObject(property["items"]) ?? {};
  const plain = [...readArray(property["enum"]), ...readArray(items["enum"])].flatMap((value) =>
    typeof value === "string" ? [{ value, title: value }] : [],
  );
  const titled = [...readArray(property["oneOf"]), ...readArray(items["anyOf"])].flatMap((item) => {
    const option = readObject(item);
    const value = readText(option?.["const"]);
    return value === null ? [] : [{ value, title: readLabel(option?.["title"], MAX_WORDS_CHARS) ?? value }];
  });
  return [...plain, ...titled].slice(0, MAX_CHOICES);
}

/** What `receiveQuestion` put into the payload; it was stored and comes back as JSON. */
function readStoredFields(payload: Json): Field[] {
  return readArray(readObject(payload)?.["fields"]) as unknown as Field[];
}

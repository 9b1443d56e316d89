import { createHash } from "node:crypto";
import { Refusal } from "./refusal.ts";
import { parseJson } from "./wire-format.ts";

/** What a request tells a model, as far as it can be counted before anybody has answered. */
export interface CountedInput {
  /** The request as JSON, with a mark in place of each picture. */
  readonly text: Buffer;
  readonly images: number;
}

/** An earlier request of the same run to the same model, and what its provider counted. */
export interface MeasuredInput extends CountedInput {
  readonly inputTokens: number;
}

/** What a provider puts around a request: preambles for tools, the words of its own format. */
const MARGIN_TOKENS = 1_024;
/** Between two requests that are all but the same, only what joins their parts can differ. */
const SAME_MARGIN_TOKENS = 256;
/** More than any provider counts for one picture, whatever its size. */
const IMAGE_TOKENS = 40_000;
const MARK = "runyard-image:";
const MARK_BYTES = MARK.length + 16;

/** Reads a request that is to be bounded. Throws a Refusal for what nobody can bound: files, sound, film. */
export function countInput(body: Buffer): CountedInput {
  const request = parseJson(body);
  let images = 0;
  const mark = (data: string): string => {
    images += 1;
    return MARK + createHash("sha256").update(data).digest("hex").slice(0, 16);
  };
  const marked = markMedia(request, mark);
  return { text: Buffer.from(JSON.stringify(marked)), images };
}

/**
 * The most tokens that a provider can count as input: a tokenizer never makes more tokens than there are bytes. Where an
 * earlier request begins and ends alike, what was counted then and the bytes that differ are the bound.
 */
export function inputBound({ text, images }: CountedInput, earlier: readonly MeasuredInput[]): number {
  const first = text.length + images * IMAGE_TOKENS + MARGIN_TOKENS;
  return Math.min(first, ...earlier.map((one) => boundByEarlier(text, one)));
}

function boundByEarlier(text: Buffer, earlier: MeasuredInput): number {
  const most = Math.min(text.length, earlier.text.length);
  let start = 0;
  while (start < most && text[start] === earlier.text[start]) start += 1;
  let end = 0;
  while (end < most - start && text[text.length - 1 - end] === earlier.text[earlier.text.length - 1 - end]) end += 1;
  const differs = text.length - start - end;
  // A mark may begin in the part that is the same.
  const around = text.subarray(Math.max(0, start - MARK_BYTES), text.length - Math.max(0, end - MARK_BYTES)).toString("latin1");
  const images = differs === 0 ? 0 : around.split(MARK).length - 1;
  return earlier.inputTokens + differs + images * IMAGE_TOKENS + SAME_MARGIN_TOKENS;
}

/** Where messages have their parts, in all formats; what stands elsewhere (the arguments of a tool, a schema) is text. */
const PARTS = ["messages", "input", "contents", "content", "parts", "output", "functionResponse", "system"];
const PICTURES = new Set(["image_url", "input_image", "image", "computer_screenshot"]);
const FILES = new Set(["file", "input_file", "input_audio", "video_url", "input_video", "container_upload"]);

function markMedia(value: unknown, mark: (data: string) => string): unknown {
  if (Array.isArray(value)) return value.map((one) => markMedia(one, mark));
  if (!isRecord(value)) return value;
  const { inlineData, inline_data: alsoInline, ...rest } = value;
  const inline = inlineData ?? alsoInline;
  if (isRecord(inline)) return { ...rest, inlineData: markInline(inline, mark) };
  const type = value["type"];
  if (typeof type === "string" && PICTURES.has(type)) return mark(JSON.stringify(value));
  if (typeof type === "string" && (FILES.has(type) || (type === "document" && !isText(value["source"])))) throw notBounded(type);
  const changed = PARTS.filter((name) => Array.isArray(value[name]) || (name === "functionResponse" && isRecord(value[name])));
  return { ...value, ...Object.fromEntries(changed.map((name) => [name, markMedia(value[name], mark)])) };
}

function markInline(inline: Record<string, unknown>, mark: (data: string) => string): string {
  const type = inline["mimeType"] ?? inline["mime_type"];
  if (typeof type === "string" && type.startsWith("image/")) return mark(JSON.stringify(inline));
  throw notBounded(typeof type === "string" ? type : "file");
}

function isText(source: unknown): boolean {
  return isRecord(source) && (source["type"] === "text" || source["type"] === "content");
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function notBounded(what: string): Refusal {
  return new Refusal(400, "not_bounded", {
    message: `This run has a budget, and nobody can say before the call how much a part of the type "${what}" counts, so it is not sent. Put what it says into the request as text.`,
  });
}

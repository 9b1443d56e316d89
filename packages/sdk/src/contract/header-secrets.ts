import { z } from "zod";
import { egressPatternSchema } from "./egress.ts";

/** What stands in a header's line in the place of a secret. */
export const VALUE_PLACE = "{value}";
/** Fewest characters of a secret that goes into a header: a shorter one could not be told from the rest of an answer that repeats it. */
export const MIN_HEADER_SECRET_CHARS = 12;
/** Most characters of it: servers take no longer lines. */
export const MAX_HEADER_SECRET_CHARS = 8_192;

/** Headers of the connection and of the message's form, and those that Runyard sets so that it can read answers. */
const NOT_INJECTED =
  /^(?:host|connection|keep-alive|content-.*|transfer-encoding|accept-encoding|upgrade|te|trailer|expect|range|http2-settings|proxy-.*|sec-websocket-.*)$/;

const LINE = /^([A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)$/;

/** A host, and its port where that is not 443: `registry.example.com`, `registry.example.com:8443`. Neither patterns nor names of registries. */
export const secretHostSchema = z
  .string()
  .max(260)
  .refine((text) => text.includes(".") && !text.includes("*") && egressPatternSchema.safeParse(text).success, {
    message: "must be one host like registry.example.com, with :port where it is not 443; its header goes by https only",
  })
  .overwrite((text) => text.toLowerCase().replace(/:443$/, ""));

/** A header's line with the place of the secret's value: `authorization: Bearer {value}`. */
export const secretHeaderSchema = z
  .string()
  .max(1_000)
  .refine((line) => LINE.test(line) && (LINE.exec(line)?.[2] ?? "").includes(VALUE_PLACE), {
    message: `must be one header's line with ${VALUE_PLACE} in it, like 'authorization: Bearer ${VALUE_PLACE}', of visible ASCII characters`,
  })
  .refine((line) => !NOT_INJECTED.test(LINE.exec(line)?.[1]?.toLowerCase() ?? ""), {
    message: "must be another header: those of the connection, of a message's form and of its length are not put in",
  })
  .overwrite((line) => {
    const [, name = "", content = ""] = LINE.exec(line) ?? [];
    return `${name.toLowerCase()}: ${content}`;
  });

/** Why this value cannot stand in a header, as words behind its name; null: it can. */
export function notForHeader(value: string): string | null {
  if (!/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(value))
    return "must be one line of visible ASCII characters, since it is for a header";
  if (value.length < MIN_HEADER_SECRET_CHARS)
    return `must have at least ${MIN_HEADER_SECRET_CHARS} characters, since it is for a header: a shorter one could not be hidden where an answer repeats it`;
  return value.length > MAX_HEADER_SECRET_CHARS
    ? `must have at most ${MAX_HEADER_SECRET_CHARS} characters, since it is for a header`
    : null;
}

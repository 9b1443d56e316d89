/** What differs by nature between a run and its replay, and so is taken for the same when their requests are compared. */

const MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*";
const WEEKDAY = "(?:\\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? +)?";
const CLOCK = "\\d{1,2}:\\d{2}(?::\\d{2}(?:\\.\\d+)?)?";
/** UTC, CET, CEST, but no other word in capitals: the name of a file may follow a time. */
const ZONE = "(?: ?(?:Z\\b|UTC\\b|GMT\\b|[A-Z]{2,3}T\\b|[+-]\\d{2}:?\\d{2}))?";

/** In every text of a request, in this order: what fits `pattern` counts as `as`. */
const INCIDENTAL_TEXT: readonly { readonly pattern: RegExp; readonly as: string }[] = [
  // Without isolation, an attempt's folder lies below its run's.
  { pattern: /(?<=<run>\/)\d+(?=\/|\b)/g, as: "<attempt>" },
  { pattern: /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi, as: "<uuid>" },
  // 2026-11-20, 2026-11-20T20:01:02.345Z, 2026-11-20 20:01:02 +0100
  { pattern: new RegExp(`\\b\\d{4}-\\d{2}-\\d{2}(?:[T ]${CLOCK}${ZONE})?(?!\\d)`, "g"), as: "<time>" },
  // Fri Nov 20 2026, Fri Nov 20 20:01:02 2026 +0100, Friday, November 20, 2026; of `ls -l`: Nov 20 20:01
  { pattern: new RegExp(`${WEEKDAY}\\b${MONTH} +\\d{1,2},? +(?:${CLOCK}${ZONE}(?: \\d{4})?|\\d{4})${ZONE}(?!\\d)`, "g"), as: "<time>" },
  // Fri, 20 Nov 2026 20:01:02 GMT
  { pattern: new RegExp(`${WEEKDAY}\\b\\d{1,2} ${MONTH} \\d{4}(?: ${CLOCK}${ZONE})?(?!\\d)`, "g"), as: "<time>" },
  // Seconds or milliseconds since 1970, of the years 2017 to 2065
  { pattern: /\b(?:1[5-9]|2\d)\d{8}(?:\d{3})?\b/g, as: "<time>" },
  // How long something took, as tests and tools print it: 0.52s, 12ms, (5 ms), duration_ms 53.1, Wall time: 1 seconds
  {
    pattern:
      /\b\d+\.\d+ ?(?:µs|ms|s|secs?|seconds)\b|\b\d+ms\b|(?<=\()\d+ m?s(?=\))|(?<=duration_ms:? )[\d.]+|(?<=\b[Tt]ime: )\d+ seconds\b/g,
    as: "<duration>",
  },
  // Process ids, where they are called so
  { pattern: /(?<=\b(?:PGID|PIDs?|pid)(?:: ?| |=))\d+\b/g, as: "<pid>" },
  // Codex names each piece of what a command puts out.
  { pattern: /(?<=\bChunk ID: )[0-9a-f]+\b/g, as: "<name>" },
];

/** The same of a number alone. */
const UNIX_TIME = /^(?:1[5-9]|2\d)\d{8}(?:\d{3})?$/;

/** Fields that name something: their values may differ, as long as the same ones mean the same. */
const NAMING_FIELDS: ReadonlySet<string> = new Set([
  "id",
  "call_id",
  "item_id",
  "tool_call_id",
  "tool_use_id",
  "session_id",
  "user_id",
  "prompt_cache_key",
]);

/** A JSON value without what differs by nature; `ownId` is the id of the run that it belongs to. */
export function withoutIncidentals(value: unknown, ownId: string): unknown {
  const names = new Map<string, string>();
  const nameOf = (text: string): string => {
    const known = names.get(text) ?? `<name ${names.size + 1}>`;
    names.set(text, known);
    return known;
  };
  const plain = (inner: unknown): unknown => {
    if (typeof inner === "string") return plainText(inner, ownId);
    if (typeof inner === "number") return UNIX_TIME.test(String(inner)) ? "<time>" : inner;
    if (Array.isArray(inner)) return inner.map(plain);
    if (typeof inner !== "object" || inner === null) return inner;
    return Object.fromEntries(
      Object.entries(inner).map(([name, field]) => [
        name,
        NAMING_FIELDS.has(name) && typeof field === "string" ? nameOf(field) : plain(field),
      ]),
    );
  };
  return plain(value);
}

function plainText(text: string, ownId: string): string {
  return INCIDENTAL_TEXT.reduce((rest, { pattern, as }) => rest.replaceAll(pattern, as), text.replaceAll(ownId, "<run>"));
}

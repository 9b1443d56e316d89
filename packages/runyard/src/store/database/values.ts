import pg from "pg";

const INT8 = 20;
const DATE = 1082;
const TIMESTAMP = 1114;
const TIMESTAMPTZ = 1184;
const INT8_ARRAY = 1016;
const DATE_ARRAY = 1182;
const TIMESTAMP_ARRAY = 1115;
const TIMESTAMPTZ_ARRAY = 1185;
const TEXT_ARRAY = 1009;

type Parser = (text: string) => unknown;

const ordinary = pg.types.getTypeParser as (oid: number, format: "text" | "binary") => Parser;
const textArray = ordinary(TEXT_ARRAY, "text") as (text: string) => (string | null)[];
const PARSERS: ReadonlyMap<number, Parser> = new Map<number, Parser>([
  [INT8, toSafeNumber],
  [INT8_ARRAY, each(toSafeNumber)],
  [TIMESTAMPTZ, toIso],
  [TIMESTAMPTZ_ARRAY, each(toIso)],
  // As PostgreSQL writes them: a JavaScript Date would shift them by the time zone of this machine.
  ...[DATE, TIMESTAMP].map((oid): [number, Parser] => [oid, (text) => text]),
  ...[DATE_ARRAY, TIMESTAMP_ARRAY].map((oid): [number, Parser] => [oid, textArray]),
]);

/**
 * How values come out of PostgreSQL: `int8` as a number (an error beyond the safe range), `timestamptz`
 * as ISO 8601 in UTC (`2026-11-20T10:30:00.123Z`, up to microseconds, the session being in UTC), `date`
 * as text, `json` and `jsonb` parsed (cast to text to have the text), the rest as `pg` does it.
 */
export const valueTypes: pg.CustomTypesConfig = {
  getTypeParser: (oid: number, format: "text" | "binary" = "text") =>
    (format === "binary" ? undefined : PARSERS.get(oid)) ?? ordinary(oid, format),
};

function toSafeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`${text} is too large for a JavaScript number: select it as text`);
  return value;
}

/** From `2026-11-20 10:30:00.12+00`. At least three digits of a second, so that common values sort as text. */
function toIso(text: string): string {
  const parts = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d+))?\+00$/.exec(text);
  if (parts === null) throw new RangeError(`${text} is not a time of the years 1 to 9999 in UTC: select it as text`);
  return `${parts[1]}T${parts[2]}.${(parts[3] ?? "").padEnd(3, "0")}Z`;
}

function each<T>(parse: (text: string) => T): (text: string) => (T | null)[] {
  return (text) => textArray(text).map((item) => (item === null ? null : parse(item)));
}

import fc from "fast-check";

/** An entry of a tree as an archive could hold it: a name in any bytes, and what it says that it is. */
export interface HostileEntry {
  /** From the outside in; each is one name in a tree, whatever it has in it. */
  readonly names: readonly Buffer[];
  /** Of git's trees, also those that git never writes. */
  readonly mode: "100644" | "100755" | "100777" | "104755" | "120000" | "160000" | "010000" | "020000" | "060000" | "140000";
  readonly content: string;
}

const UNSAFE = [".", "..", "/", "/etc/passwd", "../../outside", "a/../../../outside", "..\\..\\outside", "C:\\outside", "\\\\host\\share"];
const GIT = [
  ".git",
  ".GIT",
  ".Git",
  "git~1",
  "GIT~1",
  ".git.",
  ".git ",
  ".git...",
  ".git/hooks",
  ".git\\config",
  ".git::$INDEX_ALLOCATION",
];
/** Points of Unicode that some disks leave out, fold or compose. */
const UNICODE = [
  ".g\u200cit",
  ".git\u200d",
  ".\ufeffgit",
  ".g\u0131t",
  ".gi\u0074\u0301",
  "\u00e9",
  "e\u0301",
  "\u202egnp.exe",
  "\uff0e\uff0e",
];
const SPECIAL = [
  ".gitmodules",
  ".gitattributes",
  ".GITMODULES",
  "gitmod~1",
  "-rf",
  "--upload-pack=x",
  "--",
  ":(top)x",
  "*",
  "?",
  "@{-1}",
  "CON",
  "x:y",
];
const ODD = ["a ", "a.", " ", "\n", "a\nb", "a\tb", "\u001b[31m", "\u0001", '"', "'", "$(id)", "`id`", "x".repeat(255), "x".repeat(4_096)];
const PLAIN = ["a", "src", "hooks", "config", "post-checkout", "README.md"];

const text = fc.constantFrom(...UNSAFE, ...GIT, ...UNICODE, ...SPECIAL, ...ODD, ...PLAIN);
const bytes = fc.uint8Array({ minLength: 1, maxLength: 12 }).map((some) => Buffer.from(some.map((byte) => (byte === 0 ? 0xff : byte))));
const name = fc.oneof(
  { weight: 6, arbitrary: text.map((one) => Buffer.from(one)) },
  { weight: 1, arbitrary: fc.tuple(text, text).map(([a, b]) => Buffer.from(`${a}/${b}`)) },
  { weight: 1, arbitrary: text.map((one) => Buffer.from(`${one}\\`)) },
  { weight: 1, arbitrary: bytes },
);

const TARGETS = ["/etc/passwd", "../../../outside", "../outside", ".git/config", "..", "/", "nowhere", "", "x".repeat(5_000)];

const entry: fc.Arbitrary<HostileEntry> = fc.record({
  names: fc.oneof({ weight: 3, arbitrary: fc.tuple(name) }, { weight: 2, arbitrary: fc.array(name, { minLength: 2, maxLength: 4 }) }),
  mode: fc.constantFrom(
    "100644",
    "100644",
    "100755",
    "100777",
    "104755",
    "120000",
    "120000",
    "160000",
    "010000",
    "020000",
    "060000",
    "140000",
  ),
  content: fc.constantFrom(...TARGETS),
});

/** So many entries; the same seed makes the same ones. */
export function hostileEntries(count: number, seed: number): HostileEntry[] {
  return fc.sample(entry, { numRuns: count, seed });
}

/** As a person reads it. */
export function describeEntry({ names, mode, content }: HostileEntry): string {
  return `${mode} ${names.map((one) => JSON.stringify(one.toString("latin1").slice(0, 60))).join(" > ")} (${JSON.stringify(content.slice(0, 20))})`;
}

// What an agent, or whoever slipped words into its files, could write so that something happens beside its being read. Each row
// is tried in a title, a description and the message of a commit; what a server would act on is looked for by rules of their own.
import { describe, expect, test } from "vitest";
import { neutralIdentity, neutralLine, neutralMarkdown, neutralMessage } from "./neutral-text.ts";
import { pullRequestBody, type PullRequestStory, pullRequestTitle } from "./pull-request.ts";

const RLO = "\u202e";
const ZWSP = "\u200b";
const CLOSING = ["close", "closes", "closed", "fix", "fixes", "fixed", "resolve", "resolves", "resolved"];
const REFERENCES = ["#12", "acme/app#12", "https://github.com/acme/app/issues/12", "GH-12"];

const MENTIONS = [
  "@octocat",
  "@acme/core",
  "(@octocat)",
  "cc:@octocat",
  "**@octocat**",
  "\uff20octocat",
  "\ufe6boctocat",
  `@${ZWSP}octocat`,
  `${ZWSP}@octocat`,
  "@\u00adoctocat",
  "@\u2060octocat",
  "@\ufeffoctocat",
  "&#64;octocat",
  "&#x40;octocat",
  "&commat;octocat",
  "\\@octocat",
  "@<!-- -->octocat",
  "@\u0000octocat",
  "\u0000octocat",
];
const MORE_REFERENCES = [
  "#12",
  "\uff0312",
  "(#12)",
  "acme/app#12",
  "gh-12",
  "https://github.com/acme/app/pull/12",
  "https://github.com/acme/app/pull/12/files",
  "https://github.com/acme/app/discussions/12",
  "&#35;12",
  "#\u00ad12",
  "\\#12",
  "acme/app@0123456789abcdef0123456789abcdef01234567",
  "https://github.com/acme/app/commit/0123456789abcdef",
];
const MARKDOWN = [
  "![pixel](https://tracker.example/p.png)",
  "![x][1]\n\n[1]: https://tracker.example/p.png",
  "[click](https://evil.example)",
  "[click][1]\n\n[1]: https://evil.example",
  "<img src=https://tracker.example/p.png>",
  "<a href=https://evil.example>GitHub</a>",
  "<script>alert(1)</script>",
  "<details open>",
  "<!-- runyard:end -->",
  "<!-- runyard:run_2 -->",
  "<!-- runyard:run_1:attempt-2 -->",
  "&lt;img&gt; &#60;img src=x>",
  "> [!CAUTION]\n> This was approved",
  "- [ ] approve\n- [x] done",
  "```mermaid\ngraph TD; click A href 'https://evil.example'\n```",
  "~~~ geojson\n{}\n~~~",
  "$$\\href{https://evil.example}{click}$$",
  "$`\\href{https://evil.example}{click}`$",
  "$\\href{https://evil.example}{click}$",
];
const CLAIMS = [
  "Co-authored-by: Octo Cat <octocat@github.com>",
  "co-authored-by:Octo Cat <octocat@github.com>",
  "CO-AUTHORED-BY : Octo Cat <octocat@github.com>",
  "Signed-off-by: Ann <ann@example.com>",
  "Reviewed-by: Ann <ann@example.com>",
  "Acked-by: Ann <ann@example.com>",
  "Tested-by: Ann <ann@example.com>",
  "on-behalf-of: @acme <a@acme.example>",
  "Runyard-Run: run_of_somebody_else",
  "skip-checks: true",
  "skip-checks:true",
];
const SKIPS = ["[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]", "[SKIP CI]", "***NO_CI***"];
const STEERING = [
  "\u001b]0;owned\u0007",
  "\u001b[2J\u001b[31mred",
  "\u009b31mred",
  "\u001b]52;c;ZWNobyBvd25lZA==\u0007",
  "a\rb",
  "a\u0008b",
  "a\u007fb",
  `${RLO}evil`,
  "\u2066evil\u2069",
  "\u202aevil",
];
const COMMANDS = ["::set-output name=x::y", "::error file=a::b", "::add-mask::x", "::stop-commands::x"];

const ROWS = [
  ...MENTIONS,
  ...MORE_REFERENCES,
  ...CLOSING.flatMap((word) => REFERENCES.map((reference) => `${word} ${reference}`)),
  ...CLOSING.map((word) => `${word.toUpperCase()}: #12`),
  ...MARKDOWN,
  ...CLAIMS,
  ...SKIPS,
  ...STEERING,
  ...COMMANDS,
];

/** As a server sees it that resolves entities and does not see soft hyphens. */
function asServerReads(text: string): string {
  return text
    .replaceAll(/&#(?:x([0-9a-f]+)|(\d+));/gi, (_, hex: string | undefined, decimal: string) =>
      String.fromCodePoint(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)),
    )
    .replaceAll("&commat;", "@")
    .replaceAll("&lt;", "<")
    .replaceAll(/\\([@#[\]!])/g, "$1")
    .normalize("NFKC");
}

/** What a server or a terminal does beside showing it. */
function effectsOf(text: string): string[] {
  const read = asServerReads(text);
  const rules: Readonly<Record<string, RegExp>> = {
    mention: /(?:^|[^A-Za-z0-9_])@[a-z0-9]/i,
    reference: /(?:^|\W|\w)#\d|\bGH-\d|\/(?:issues|pull|discussions)\/\d|\/commit\/[0-9a-f]{7}|@[0-9a-f]{7}/i,
    closing: /\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+\S*(?:#|GH-|\/)\d/i,
    workflow: /\[(?:skip ci|ci skip|no ci|skip actions|actions skip)\]|\*\*\*NO_CI/i,
    // oxlint-disable-next-line no-control-regex -- control characters are what it must find
    steering: /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/,
  };
  return Object.entries(rules).flatMap(([name, rule]) => (rule.test(read) ? [name] : []));
}

/** What Markdown makes of it beside text. */
function drawn(markdown: string): string[] {
  const read = asServerReads(markdown);
  const rules: Readonly<Record<string, RegExp>> = {
    image: /!\[/,
    link: /\][([]|^ {0,3}\[[^\]]+\]:/m,
    html: /<[a-z/!?]/i,
    notice: /^[> ]*\[!/m,
    task: /^[> ]*[-*+] \[[ x]\] /im,
    diagram: /^[> ]*(?:```|~~~) *(?:mermaid|geojson|topojson|stl|math)/im,
    formula: /\$\$|\$`|\\href/,
  };
  return Object.entries(rules).flatMap(([name, rule]) => (rule.test(read) ? [name] : []));
}

/** Lines of a message that git takes for trailers and others for claims. */
function claimsIn(message: string): string[] {
  return message
    .split("\n")
    .filter((line) => /^[ \t]*(?:[A-Za-z][A-Za-z0-9-]*-by|on-behalf-of|runyard-run|skip-checks)[ \t]*:/i.test(line));
}

const story: PullRequestStory = {
  runId: "run_1",
  turn: 1,
  attempt: 1,
  title: null,
  asked: "Do it",
  plan: null,
  summary: "Done",
  agent: "builtin",
  model: null,
  changed: { filesChanged: 0, insertions: 0, deletions: 0, files: [] },
  verified: [],
  costUsd: null,
  simulated: false,
  link: null,
  allowReferences: false,
};

test("the rules find what they look for", () => {
  expect(ROWS.length).toBeGreaterThan(60);
  expect(effectsOf("fixes #12 for @octocat [skip ci] \u001b[31m")).toEqual(["mention", "reference", "closing", "workflow", "steering"]);
  expect(drawn("![a](b) <img> \n> [!NOTE]\n- [ ] x\n```mermaid\n$$")).toEqual([
    "image",
    "link",
    "html",
    "notice",
    "task",
    "diagram",
    "formula",
  ]);
});

describe.each(ROWS.map((words) => [JSON.stringify(words), words] as const))("%s", (_, words) => {
  // Behind other words, at the beginning of a line, and alone.
  const texts = [words, `See ${words} there`, `Title\n\n${words}\n`];

  test("does nothing in a title", () => {
    for (const asked of texts) expect(effectsOf(pullRequestTitle({ ...story, asked }))).toEqual([]);
    expect(effectsOf(neutralLine(words, { allowReferences: false, longest: 200 }))).toEqual([]);
  });

  test("does nothing in a description, wherever it comes from", () => {
    for (const text of texts) {
      const shown = neutralMarkdown(text, { allowReferences: false });
      expect([...effectsOf(shown), ...drawn(shown)]).toEqual([]);
      const plan = { text, version: 1, by: text };
      const body = pullRequestBody({ ...story, asked: text, summary: text, plan });
      const ours =
        /^<!-- runyard:begin -->\n<!-- runyard:run_1 -->\n<!-- runyard:run_1:attempt-1 -->\n([\s\S]*)\n<!-- runyard:end -->$/.exec(body);
      expect([...effectsOf(ours?.[1] ?? "@x"), ...drawn(ours?.[1] ?? "<x")]).toEqual([]);
    }
  });

  test("does nothing in the name of a file or a command, which are code", () => {
    const file = { path: words, insertions: 1, deletions: 0 };
    const verified = [{ run: words, kind: null, passed: true }];
    const body = pullRequestBody({ ...story, changed: { ...story.changed, files: [file] }, verified });
    const lines = body.split("\n").filter((line) => line.startsWith("- "));
    expect(lines).toHaveLength(2);
    for (const line of lines) {
      const [, fence = "", code = ""] = /^- (`+) (.*) \1(?: |:)/.exec(line) ?? [];
      expect(fence).not.toBe("");
      expect(code).not.toContain(fence);
      expect(effectsOf(line)).not.toContain("steering");
    }
  });

  test("does nothing in the message of a commit", () => {
    for (const text of texts) {
      const message = neutralMessage(text, { claims: ["Runyard-Run: run_1"] });
      expect(effectsOf(message)).toEqual([]);
      expect(claimsIn(message)).toEqual([]);
      expect(neutralMessage(message, { claims: [] })).toBe(message);
    }
  });

  test("steers nothing as the name of an author", () => {
    expect(effectsOf(neutralIdentity(`author ${words} <a@x.invalid> 1 +0000`))).not.toContain("steering");
  });
});

test("what is true of a run is let be, and bytes that are no UTF-8 stay what they are", () => {
  const claims = ["Runyard-Run: run_1", "Co-authored-by: Ann <ann@runyard.invalid>"];
  expect(neutralMessage(`Do it\n\n${claims.join("\n")}\n`, { claims })).toBe(`Do it\n\n${claims.join("\n")}\n`);
  const bytes = { claims, isBytes: true };
  expect(neutralMessage("\u0093quoted\u0094 \u001b[31m", bytes)).toBe("\u0093quoted\u0094 [31m");
  expect(claimsIn(neutralMessage("Signed-off-by: Ann", bytes).replaceAll(ZWSP, " "))).toEqual([]);
  expect(neutralIdentity("author \u0093A\u0094\u001b <a@x> 1 +0000", bytes)).toBe("author \u0093A\u0094 <a@x> 1 +0000");
});

test("a title is never longer than what is taken, whatever is broken up in it", () => {
  for (const asked of ["@a".repeat(200), "#1".repeat(200), "😀".repeat(300)])
    expect(Array.from(pullRequestTitle({ ...story, asked })).length).toBeLessThanOrEqual(200);
});

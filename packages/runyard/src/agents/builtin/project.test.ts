import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { frontMatter, projectSays } from "./project.ts";
import { makeDir } from "./testing/agent-process.ts";

let root: string;
beforeEach(() => {
  root = makeDir("project");
});
afterEach(() => rmSync(root, { recursive: true }));

function put(name: string, text: string): void {
  const file = path.join(root, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
}

describe("what a project says to the built-in agent", () => {
  it("is nothing where it says nothing", async () => {
    put("src/a.ts", "");
    expect(await projectSays(root)).toEqual([]);
  });

  it("is its AGENTS.md, and where others are", async () => {
    put("AGENTS.md", "Use tabs.\n");
    put("packages/a/AGENTS.md", "Use spaces.\n");
    put("packages/a/deep/er/AGENTS.md", "x\n");
    put("node_modules/b/AGENTS.md", "Not ours.\n");
    const [top, nested, ...rest] = await projectSays(root);
    expect(top).toContain("<agents_md>\nUse tabs.\n");
    expect(nested).toMatch(/nearest to the file counts:\n- packages\/a\/AGENTS\.md\n- packages\/a\/deep\/er\/AGENTS\.md$/);
    expect(rest).toEqual([]);
  });

  it("is the name, purpose and file of each skill, and not its body", async () => {
    put(".agents/skills/pear/SKILL.md", "---\nname: pear\ndescription: Peels pears. Use it for pears.\n---\nTHE BODY\n");
    put(".claude/skills/plum/SKILL.md", '---\nname: "plum"\ndescription: >-\n  Stones\n  plums.\n---\nTHE BODY\n');
    put(".claude/skills/bare/SKILL.md", "no front matter\n");
    put(".claude/skills/empty/README.md", "no skill\n");
    const [skills] = await projectSays(root);
    expect(skills?.split("\n").slice(1)).toEqual([
      "- pear: Peels pears. Use it for pears. (.agents/skills/pear/SKILL.md)",
      "- bare:  (.claude/skills/bare/SKILL.md)",
      "- plum: Stones plums. (.claude/skills/plum/SKILL.md)",
    ]);
    expect(skills).not.toContain("THE BODY");
  });

  it("ends at the workspace, and is bounded", async () => {
    const outside = makeDir("outside");
    mkdirSync(path.join(outside, "leak"));
    writeFileSync(path.join(outside, "leak/SKILL.md"), "---\nname: leak\ndescription: LEAKED\n---\n");
    mkdirSync(path.join(root, ".agents"));
    symlinkSync(outside, path.join(root, ".agents/skills"));
    for (let index = 0; index < 60; index += 1) {
      put(`.claude/skills/s${index}/SKILL.md`, `---\nname: s${index}\ndescription: ${"x".repeat(2_000)}\n---\n`);
      put(`folder${index}/AGENTS.md`, "x");
    }
    const [nested = "", skills = ""] = await projectSays(root);
    rmSync(outside, { recursive: true });
    expect(nested.split("\n- ")).toHaveLength(51);
    expect(skills.split("\n- ")).toHaveLength(51);
    expect(skills).not.toContain("LEAKED");
    expect(skills.length).toBeLessThan(35_000);
  });

  it.each([
    ["---\na: 1\nb: 'two words'\n---\nc: 3", { a: "1", b: "two words" }],
    ["---\r\na: |\r\n  one\r\n  two\r\nb: x\r\n---\r\n", { a: "one two", b: "x" }],
    ["---\na:\n  one\n  two\n---\n", { a: "one two" }],
    ["---\na: never ended", {}],
    ["a: no head\n---\n", {}],
  ])("front matter %j is %j", (text, fields) => {
    expect(frontMatter(text)).toEqual(fields);
  });
});

import { describe, expect, it } from "vitest";
import { readAskedCall } from "./asked-call.ts";
import type { Json, JsonObject } from "./json.ts";
import type { ToolView } from "./tools.ts";

const VIEW: ToolView = {
  toolCallId: "t",
  title: "t",
  kind: "edit",
  status: "pending",
  output: null,
  exitCode: null,
  diffs: [],
  locations: [],
};
const read = (call: JsonObject, known: Partial<ToolView> | null = null) =>
  readAskedCall(call, { kind: "edit", known: known && { ...VIEW, ...known }, workspace: "/workspace" });

describe("what agents send", () => {
  it.each<[string, JsonObject, string[], string | null]>([
    [
      "the built-in agent's edit",
      {
        kind: "edit",
        rawInput: { path: "src/a.ts", old_text: "a", new_text: "b" },
        locations: [{ path: "/workspace/src/a.ts", line: 3 }],
        content: [{ type: "diff", path: "/workspace/src/a.ts", oldText: "a", newText: "b" }],
      },
      ["src/a.ts"],
      null,
    ],
    ["the built-in agent's command", { rawInput: { command: "npm test", timeout: 5 } }, [], "npm test"],
    ["opencode's edit", { locations: [{ path: "/workspace/a" }], rawInput: { filepath: "/workspace/a", diff: "…" } }, ["a"], null],
    ["opencode's command", { title: "ls; pwd", locations: [], rawInput: { command: "ls; pwd" } }, [], "ls; pwd"],
    ["codex's edit", { title: "Edit files", locations: [{ path: "/workspace/a" }, { path: "/etc/x" }] }, ["a", "/etc/x"], null],
    ["codex's command", { title: "ls; pwd", rawInput: { command: "ls; pwd", cwd: "/workspace" } }, [], "ls; pwd"],
    [
      "codex's command with quotes",
      { title: `touch 'a b' && echo "$HOME"`, rawInput: { command: `"touch 'a b' && echo \\""'$HOME"'` } },
      [],
      `touch 'a b' && echo "$HOME"`,
    ],
    ["a line of one quoted word that the title does not spell", { title: "x", rawInput: { command: `np"m test"` } }, [], `np"m test"`],
    ["a line that is more than one word", { title: "a b", rawInput: { command: `"a" 'b'` } }, [], `"a" 'b'`],
    ["words behind a backslash", { title: "a b c", rawInput: { command: String.raw`a\ "b"' c'` } }, [], "a b c"],
    ["a shell's words", { rawInput: { command: ["/bin/bash", "-lc", "npm test && ls"] } }, [], "npm test && ls"],
    ["a shell's words with arguments", { rawInput: { command: ["sh", "-c", "$0", "ls"] } }, [], "sh -c $0 ls"],
    ["words", { rawInput: { command: ["npm", "test", 7] } }, [], "npm test"],
    ["a blank command", { rawInput: { command: " \n" } }, [], null],
    ["nothing", {}, [], null],
    ["other shapes", { rawInput: "x", locations: "x", content: [7, { path: 7 }, { path: "" }] }, [], null],
  ])("%s", (_name, call, paths, command) => {
    expect(read(call)).toEqual({ kind: "edit", paths, command, isWhole: true });
  });

  it("what was said of the call before counts too, but not the folder that a command runs in", () => {
    const known = { locations: ["a", "/workspace/b"], diffs: [{ path: "/workspace/c", oldText: null, newText: "" }] };
    expect(read({ locations: [{ path: "/workspace/a" }] }, known).paths).toEqual(["a", "b", "c"]);
    expect(read({ rawInput: { command: "ls" } }, { locations: ["/workspace"] }).paths).toEqual([]);
  });
});

it("takes the title of a command for the command, of an agent that says it nowhere else", () => {
  const about = { known: null, workspace: "/workspace", titleIsCommand: true };
  const call = { title: "npm test; ls", locations: [] };
  expect(readAskedCall(call, { ...about, kind: "execute" })).toMatchObject({ command: "npm test; ls", paths: [] });
  expect(readAskedCall(call, { ...about, kind: "edit" }).command).toBeNull();
  expect(readAskedCall({}, { ...about, kind: "execute" }).command).toBeNull();
  expect(readAskedCall(call, { ...about, kind: "execute", titleIsCommand: false }).command).toBeNull();
});

describe("what is too much to look at", () => {
  const long = "x".repeat(16_385);
  const many = Array.from({ length: 64 }, (_, index) => `f${index}`);
  it.each<[string, Json, Partial<ToolView>]>([
    ["a command", { rawInput: { command: long } }, {}],
    ["a path", { locations: [{ path: long }] }, {}],
    ["files that may be cut", {}, { locations: many }],
    ["diffs that may be cut", {}, { diffs: many.slice(0, 32).map((path) => ({ path, oldText: null, newText: "" })) }],
  ])("%s", (_name, call, known) => {
    expect(read(call as JsonObject, known)).toEqual({ kind: "edit", paths: [], command: null, isWhole: false });
  });

  it("leaves what fits as it is", () => {
    expect(read({ rawInput: { command: long.slice(1) } }).isWhole).toBe(true);
    expect(read({}, { locations: many.slice(1) }).paths).toHaveLength(63);
  });
});

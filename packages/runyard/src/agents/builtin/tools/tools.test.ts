import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { identifyProcess } from "../../../process-identity.ts";
import {
  buildAgent,
  finalCall,
  makeDir,
  shownText,
  startAgent,
  toolCalls,
  type AgentProcess,
  type ToolUpdate,
  until,
} from "../testing/agent-process.ts";
import { startChatServer, type ChatServer, type Reply } from "../testing/chat-server.ts";

let built: Awaited<ReturnType<typeof buildAgent>>;
let server: ChatServer;
let agent: AgentProcess;
let nextReply: Reply;
const workspace = makeDir("workspace");
const further = makeDir("further");
const outside = makeDir("outside");
const home = makeDir("home");

beforeAll(async () => {
  built = await buildAgent();
  server = await startChatServer((request) => (request.body.messages.at(-1)?.role === "user" ? nextReply : { text: ["ok"] }));
  agent = await startAgent(built.program, { baseUrl: server.baseUrl, workspace, further: [further], home });
});
afterAll(async () => {
  await agent[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  built.remove();
  for (const dir of [workspace, further, outside, home]) rmSync(dir, { recursive: true });
});

/** Lets the model call one tool; returns what the model reads, what the client saw, and whether it was asked. */
async function use(name: string, input: unknown): Promise<{ text: string; call: ToolUpdate; parts: ToolUpdate[]; asked: number }> {
  nextReply = { calls: [{ name, input }] };
  agent.updates.length = 0;
  agent.permissions.length = 0;
  await agent.prompt("Go");
  const text = server.requests.at(-1)?.body.messages.at(-1)?.content ?? "";
  return { text, call: finalCall(agent.updates), parts: toolCalls(agent.updates)[0] ?? [], asked: agent.permissions.length };
}

function put(name: string, contents: string | Buffer): string {
  const file = path.join(workspace, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, contents);
  return file;
}

describe("edit_file", () => {
  test("replaces the one passage and keeps the file's mode", async () => {
    const file = put("edit/mode.sh", "#!/bin/sh\necho one\n");
    chmodSync(file, 0o755);
    const { text, asked } = await use("edit_file", { path: "edit/mode.sh", old_text: "echo one", new_text: "echo $& two" });
    expect(text).toBe("Edited edit/mode.sh at line 2.");
    expect(asked).toBe(1);
    expect(readFileSync(file, "utf8")).toBe("#!/bin/sh\necho $& two\n");
    expect(statSync(file).mode & 0o777).toBe(0o755);
  });

  test("shows some lines around the change", async () => {
    put("edit/long.txt", Array.from({ length: 20 }, (_, index) => `line ${index + 1}\n`).join(""));
    const { call } = await use("edit_file", { path: "edit/long.txt", old_text: "line 10", new_text: "LINE 10" });
    const lines = (text: string): string => `line 7\nline 8\nline 9\n${text}\nline 11\nline 12\nline 13\n`;
    expect(call.content).toEqual([
      { type: "diff", path: path.join(workspace, "edit/long.txt"), oldText: lines("line 10"), newText: lines("LINE 10") },
    ]);
  });

  test.each([
    ["two places", "same\nother\nsame\n", "same", "x", "old_text occurs 2 times in edit/case.txt (at lines 1, 3)"],
    ["no place", "one\n", "three", "x", "old_text was not found in edit/case.txt: read the file again"],
    [
      "other white space",
      "if (a) {\n\treturn b;\n}\n",
      "if (a) {\n    return b;\n}",
      "x",
      "At line 1 there is a passage that differs only in white space",
    ],
    ["no text", "one\n", "", "x", "old_text is empty"],
    ["the same text", "one\n", "one", "one", "old_text and new_text are the same"],
  ])("with %s changes nothing, asks nobody and says what to do", async (...[, contents, oldText, newText, words]) => {
    const file = put("edit/case.txt", contents);
    const { text, call, asked } = await use("edit_file", { path: "edit/case.txt", old_text: oldText, new_text: newText });
    expect(text).toContain(words);
    expect(call.status).toBe("failed");
    expect(asked).toBe(0);
    expect(readFileSync(file, "utf8")).toBe(contents);
  });

  test("a file that is missing, a directory, or no text is named as such", async () => {
    expect((await use("edit_file", { path: "edit/none.txt", old_text: "a", new_text: "b" })).text).toContain(
      "There is no file edit/none.txt",
    );
    expect((await use("edit_file", { path: "edit", old_text: "a", new_text: "b" })).text).toContain("edit is a directory");
    put("edit/binary", Buffer.from([1, 0, 2]));
    expect((await use("edit_file", { path: "edit/binary", old_text: "a", new_text: "b" })).text).toContain("is a binary file of 3 bytes");
    put("edit/latin1.txt", Buffer.from("Grüße\n", "latin1"));
    expect((await use("edit_file", { path: "edit/latin1.txt", old_text: "a", new_text: "b" })).text).toContain("not in UTF-8");
  });

  test("keeps Windows line ends, and text of any script", async () => {
    const file = put("edit/windows.txt", "\uFEFFeins\r\nzwei 世界\r\ndrei\r\n");
    await use("edit_file", { path: "edit/windows.txt", old_text: "eins\nzwei 世界", new_text: "eins\nzwei 🌍" });
    expect(readFileSync(file, "utf8")).toBe("\uFEFFeins\r\nzwei 🌍\r\ndrei\r\n");
  });
});

describe("write_file", () => {
  test("makes the directories above, and replaces what is there", async () => {
    const { call } = await use("write_file", { path: "write/a/b.txt", content: "ä\n" });
    expect(call.content).toEqual([{ type: "diff", path: path.join(workspace, "write/a/b.txt"), oldText: null, newText: "ä\n" }]);
    const { text, call: second } = await use("write_file", { path: "write/a/b.txt", content: "" });
    expect(second.content).toMatchObject([{ oldText: "ä\n", newText: "" }]);
    expect(text).toBe("Wrote 0 bytes to write/a/b.txt.");
    expect(readFileSync(path.join(workspace, "write/a/b.txt"), "utf8")).toBe("");
  });

  test("does not write over a directory", async () => {
    mkdirSync(path.join(workspace, "write/dir"), { recursive: true });
    expect((await use("write_file", { path: "write/dir", content: "x" })).text).toContain("is not a regular file");
  });

  test("a large text is cut in what the client sees, not in the file", async () => {
    const content = "世".repeat(100_000);
    const { call } = await use("write_file", { path: "write/large.txt", content });
    expect(readFileSync(path.join(workspace, "write/large.txt"), "utf8")).toBe(content);
    expect(JSON.stringify(call).length).toBeLessThan(70_000);
    expect(JSON.stringify(call)).not.toContain("\uFFFD");
  });
});

describe("paths", () => {
  beforeAll(() => {
    writeFileSync(path.join(outside, "secret.txt"), "secret\n");
    symlinkSync(outside, path.join(workspace, "link-out"));
    symlinkSync(path.join(outside, "secret.txt"), path.join(workspace, "link-file"));
    symlinkSync(path.join(outside, "new.txt"), path.join(workspace, "link-dangling"));
    put("real/inside.txt", "inside\n");
    symlinkSync("real", path.join(workspace, "link-in"));
  });

  test.each(["../x.txt", "/etc/passwd", "link-out/secret.txt", "link-file", "link-out/new/deep.txt", "real/../../x"])(
    "%s is refused",
    async (name) => {
      for (const [tool, input] of [
        ["read_file", { path: name }],
        ["write_file", { path: name, content: "x" }],
        ["edit_file", { path: name, old_text: "secret", new_text: "x" }],
      ] as const) {
        const { text, asked } = await use(tool, input);
        expect(text).toContain("is outside of the workspace");
        expect(asked).toBe(0);
      }
      expect(readFileSync(path.join(outside, "secret.txt"), "utf8")).toBe("secret\n");
    },
  );

  test("a link without a target is not written through", async () => {
    expect((await use("write_file", { path: "link-dangling", content: "x" })).text).toContain("symbolic link whose target does not exist");
    expect(existsSync(path.join(outside, "new.txt"))).toBe(false);
    expect(lstatSync(path.join(workspace, "link-dangling")).isSymbolicLink()).toBe(true);
  });

  test("links and absolute paths within the workspace are fine", async () => {
    expect((await use("read_file", { path: "link-in/inside.txt" })).text).toBe("inside\n");
    expect((await use("read_file", { path: path.join(workspace, "real/inside.txt") })).text).toBe("inside\n");
  });

  test("further folders of the workspace are inside, by either way to name them, and links lead out of them no more", async () => {
    const relative = path.relative(workspace, further);
    expect((await use("write_file", { path: `${relative}/a/new.txt`, content: "one\n" })).text).toBe(
      `Wrote 4 bytes to ${relative}/a/new.txt.`,
    );
    const file = path.join(further, "a/new.txt");
    expect((await use("edit_file", { path: file, old_text: "one", new_text: "two" })).text).toBe(`Edited ${file} at line 1.`);
    expect((await use("read_file", { path: file })).text).toBe("two\n");
    expect((await use("search", { pattern: "two", path: relative })).text).toContain(`${relative}/a/new.txt:1: two`);
    expect((await use("list_files", { path: relative })).text).toContain(`${relative}/a/new.txt`);
    symlinkSync(outside, path.join(further, "out"));
    expect((await use("read_file", { path: `${relative}/out/secret.txt` })).text).toContain("is outside of the workspace");
    expect(server.requests.at(-1)?.body.messages[0]?.content).toContain(`Further directories that belong to the task: ${further}`);
  });

  test("searching and listing do not follow links out", async () => {
    expect((await use("search", { pattern: "secret" })).text).toBe("[no line matches]");
    expect((await use("list_files", { path: "link-out" })).text).toContain("is outside of the workspace");
    expect((await use("list_files", {})).text).not.toContain("secret.txt");
  });
});

describe("read_file", () => {
  test("reads parts of a long file and says how to go on", async () => {
    put("read/long.txt", Array.from({ length: 5_000 }, (_, index) => `${index + 1}\n`).join(""));
    const { text } = await use("read_file", { path: "read/long.txt" });
    expect(text.startsWith("1\n2\n")).toBe(true);
    expect(text.endsWith("\n2000\n[lines 1 to 2000 of 5000: read on with offset 2001]")).toBe(true);
    expect((await use("read_file", { path: "read/long.txt", offset: 4_999, limit: 10 })).text).toBe("4999\n5000");
    expect((await use("read_file", { path: "read/long.txt", offset: 5_001 })).text).toContain("has 5000 lines");
  });

  test("long lines are bounded", async () => {
    put("read/wide.txt", `${"x".repeat(40_000)}\n`.repeat(4));
    expect((await use("read_file", { path: "read/wide.txt" })).text).toContain("[lines 1 to 1 of 4: read on with offset 2]");
    put("read/one-line.json", "x".repeat(1_000_000));
    expect((await use("read_file", { path: "read/one-line.json" })).text.length).toBeLessThan(20_000);
  });

  test("says what cannot be read", async () => {
    expect((await use("read_file", { path: "read/none" })).text).toContain("no such file");
    put("read/empty", "");
    expect((await use("read_file", { path: "read/empty" })).text).toBe("[read/empty is empty]");
    expect((await use("read_file", { path: "read" })).text).toContain("is a directory: use list_files");
  });
});

describe("search and list_files", () => {
  beforeAll(() => {
    put("find/src/a.ts", "const café = 1;\nconst tea = 2;\n");
    put("find/node_modules/x/index.js", "const café = 3;\n");
    put("find/.git/config", "café\n");
    put("find/image.bin", Buffer.concat([Buffer.from("café"), Buffer.alloc(3)]));
  });

  test("skip what is no source", async () => {
    expect((await use("search", { pattern: "caf.\\b|tea", path: "find" })).text).toBe("find/src/a.ts:2: const tea = 2;");
    expect((await use("search", { pattern: "café", path: "find" })).text).toBe("find/src/a.ts:1: const café = 1;");
    expect((await use("search", { pattern: "tea", path: "find/src/a.ts" })).text).toBe("find/src/a.ts:2: const tea = 2;");
    expect((await use("list_files", { path: "find" })).text).toBe("find/image.bin\nfind/src/\nfind/src/a.ts");
  });

  test("are bounded", async () => {
    put("many/lines.txt", "hit\n".repeat(1_000));
    expect((await use("search", { pattern: "hit", path: "many" })).text.split("\n")).toHaveLength(201);
    for (let index = 0; index < 510; index += 1) put(`many/files/${index}`, "");
    const listed = (await use("list_files", { path: "many/files" })).text;
    expect(listed.split("\n")).toHaveLength(501);
    expect(listed).toContain("[there are more than 500");
  });

  test("a wrong pattern is explained, and one that never ends is stopped", async () => {
    expect((await use("search", { pattern: "(" })).text).toContain("not a valid regular expression");
    put("many/backtrack.txt", `${"a".repeat(40)}b\n`);
    expect((await use("search", { pattern: "^(a+)+$", path: "many/backtrack.txt" })).text).toContain("takes too long");
  });
});

describe("run_command", () => {
  test("reports the real exit code", async () => {
    const { text, call } = await use("run_command", { command: "echo before; exit 3" });
    expect(text).toBe("before\n[exit code 3]");
    expect(call).toMatchObject({
      status: "failed",
      kind: "execute",
      title: "echo before; exit 3",
      rawOutput: { exitCode: 3, timedOut: false },
    });
    expect((await use("run_command", { command: "true" })).call).toMatchObject({ status: "completed", rawOutput: { exitCode: 0 } });
    expect((await use("run_command", { command: "no-such-program-here" })).call).toMatchObject({ rawOutput: { exitCode: 127 } });
    expect((await use("run_command", { command: "kill -9 $$" })).call).toMatchObject({ rawOutput: { exitCode: 137 } });
    expect((await use("run_command", { command: "if then" })).call).toMatchObject({ rawOutput: { exitCode: 2 } });
  });

  test("keeps the beginning and the end of a long output", async () => {
    const { text, call } = await use("run_command", { command: "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last" });
    expect(text.startsWith("first\nxxx")).toBe(true);
    expect(text).toMatch(/\n\[\.\.\. 29\d{5} bytes left out \.\.\.\]\n/);
    expect(text.endsWith("xxx\nlast\n[exit code 0]")).toBe(true);
    expect(Buffer.byteLength(text)).toBeLessThan(66_000);
    expect(Buffer.byteLength(shownText(call))).toBeLessThan(66_000);
  });

  test("shows output while the command runs", async () => {
    const used = use("run_command", { command: "echo early; until [ -e go ]; do sleep 0.05; done; echo late" });
    await until(() => toolCalls(agent.updates)[0]?.some((part) => shownText(part) === "early\n") === true);
    put("go", "");
    const { parts } = await used;
    const shown = parts.map(shownText);
    expect(shown).toContain("early\n");
    expect(shown.at(-1)).toBe("early\nlate\n");
  });

  test("cuts between characters, and keeps NUL out of the log", async () => {
    const { text } = await use("run_command", { command: "for i in $(seq 1 60000); do printf '世'; done; printf 'a\\0b'" });
    expect(text.replaceAll(/[世\n]/g, "")).toMatch(/^\[\.\.\. \d+ bytes left out \.\.\.\]a\uFFFDb\[exit code 0\]$/);
  });

  test("kills what takes too long, with all that it started", async () => {
    const { text, call } = await use("run_command", { command: "sleep 600 & echo $! > sleeper; echo waiting; wait", timeout: 2 });
    expect(text).toBe("waiting\n[killed: it did not end within 2 s]");
    expect(call).toMatchObject({ status: "failed", rawOutput: { exitCode: null, timedOut: true } });
    const pid = Number(readFileSync(path.join(workspace, "sleeper"), "utf8"));
    // It was told to end with the others, and does so in a time of its own.
    await until(() => identifyProcess(pid) === null);
  });

  test("does not wait for what a command leaves in the background", async () => {
    const { text } = await use("run_command", { command: "sleep 600 & echo $! > background; echo started" });
    expect(text).toBe("started\n[exit code 0]");
    const pid = Number(readFileSync(path.join(workspace, "background"), "utf8"));
    expect(identifyProcess(pid)).not.toBeNull();
  });

  test("gives no input, runs in the workspace and keeps the model's key to itself", async () => {
    expect((await use("run_command", { command: "cat; pwd; echo key=$OPENAI_API_KEY base=$OPENAI_BASE_URL; echo home=$HOME" })).text).toBe(
      `${workspace}\nkey= base=\nhome=${home}\n[exit code 0]`,
    );
  });
});

describe("calls that make no sense", () => {
  test("arguments that are missing, of another type or no JSON are told, and nobody is asked", async () => {
    for (const input of [{}, { command: 7 }, '{"command": "ls'] as unknown[]) {
      const { text, call, asked } = await use("run_command", input);
      expect(text).toContain("Invalid input for tool run_command");
      expect(call.status).toBe("failed");
      expect(asked).toBe(0);
    }
    expect((await use("run_command", { command: "ls", timeout: 99_999 })).text).toContain("1800");
  });

  test("a tool that does not exist is told, with those that do", async () => {
    const { text, call } = await use("browse", { url: "http://example.com" });
    expect(text).toContain("unavailable tool 'browse'");
    expect(text).toContain("read_file");
    expect(call).toMatchObject({ title: "browse", kind: "other", status: "failed" });
    expect((await use("constructor", {})).text).toBe("There is no tool constructor.");
  });
});

import { mkdir, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import type { ToolCallContent } from "@agentclientprotocol/sdk";
import { z } from "zod";
import { cutEnd, cutMiddle } from "../text.ts";
import { ToolProblem } from "./problem.ts";
import { readText } from "./read-files.ts";
import { defineTool } from "./tool.ts";
import { resolveInside } from "./workspace.ts";

const MAX_DIFF_BYTES = 64 * 1024;
const CONTEXT_LINES = 3;

export const editFileTool = defineTool({
  description:
    "Replace one passage of a text file of the workspace. `old_text` must be copied exactly from the file, white space included, and must occur exactly once: give some lines around the change.",
  inputSchema: z.object({
    path: z.string().min(1).describe("Path of the file, relative to the working directory"),
    old_text: z.string().describe("The passage to replace, exactly as it stands in the file"),
    new_text: z.string().describe("What to put in its place"),
  }),
  kind: "edit",
  needsPermission: true,
  title: (input) => `Edit ${cutEnd(input.path, 200)}`,
  async prepare(input, { root, further }) {
    const file = await resolveInside(root, input.path, further);
    const before = await readExisting(file, input.path);
    const edit = placeEdit(before, { name: input.path, oldText: input.old_text, newText: input.new_text });
    return {
      locations: [{ path: file, line: edit.line }],
      content: [{ type: "diff", path: file, oldText: edit.shownOld, newText: edit.shownNew }],
      async run() {
        // A person may have taken minutes to allow this.
        if ((await readExisting(file, input.path)) !== before)
          throw new ToolProblem(`${input.path} has changed in the meantime: read it again.`);
        await writeFile(file, edit.after);
        return { text: `Edited ${input.path} at line ${edit.line}.` };
      },
    };
  },
});

export const writeFileTool = defineTool({
  description:
    "Write a text file of the workspace: makes it, with the directories above it, or replaces all of it. For a small change use edit_file.",
  inputSchema: z.object({
    path: z.string().min(1).describe("Path of the file, relative to the working directory"),
    content: z.string().describe("The whole text of the file"),
  }),
  kind: "edit",
  needsPermission: true,
  title: (input) => `Write ${cutEnd(input.path, 200)}`,
  async prepare(input, { root, further }) {
    const file = await resolveInside(root, input.path, further);
    const existing = await stat(file).catch(() => undefined);
    if (existing !== undefined && !existing.isFile()) throw new ToolProblem(`${input.path} exists and is not a regular file.`);
    const before = existing === undefined ? null : await readText(file, input.path).catch(() => "[not a text file]");
    return {
      locations: [{ path: file }],
      content: [wholeDiff(file, before, input.content)],
      async run() {
        await mkdir(path.dirname(file), { recursive: true });
        await writeFile(file, input.content);
        return { text: `Wrote ${Buffer.byteLength(input.content)} bytes to ${input.path}.` };
      },
    };
  },
});

async function readExisting(file: string, name: string): Promise<string> {
  const exists = await stat(file).then(
    () => true,
    () => false,
  );
  if (!exists) throw new ToolProblem(`There is no file ${name}: look with list_files, or make it with write_file.`);
  return readText(file, name);
}

function wholeDiff(file: string, before: string | null, after: string): ToolCallContent {
  const oldText = before === null ? null : cutMiddle(before, MAX_DIFF_BYTES);
  return { type: "diff", path: file, oldText, newText: cutMiddle(after, MAX_DIFF_BYTES) };
}

interface Edit {
  /** Line of the change, from 1. */
  readonly line: number;
  readonly after: string;
  readonly shownOld: string;
  readonly shownNew: string;
}

function placeEdit(before: string, wanted: { name: string; oldText: string; newText: string }): Edit {
  const { name } = wanted;
  if (wanted.oldText === "")
    throw new ToolProblem("old_text is empty: give the passage to replace, or use write_file to replace the whole file.");
  const useCrlf = before.includes("\r\n") && !wanted.oldText.includes("\r");
  const asInFile = (text: string): string => (useCrlf ? text.replaceAll(/\r?\n/g, "\r\n") : text);
  const oldText = asInFile(wanted.oldText);
  const newText = asInFile(wanted.newText);
  if (oldText === newText) throw new ToolProblem("old_text and new_text are the same: nothing would change.");
  const start = before.indexOf(oldText);
  if (start === -1) throw new ToolProblem(notFound(before, wanted.oldText, name));
  const places = occurrences(before, oldText);
  if (places.length > 1) {
    const lines = places
      .slice(0, 10)
      .map((place) => lineAt(before, place))
      .join(", ");
    throw new ToolProblem(
      `old_text occurs ${places.length} times in ${name} (at lines ${lines}): give more of the lines around the place you mean, so that it occurs once.`,
    );
  }
  const end = start + oldText.length;
  const [from, to] = withContext(before, start, end);
  return {
    line: lineAt(before, start),
    after: before.slice(0, start) + newText + before.slice(end),
    shownOld: cutMiddle(before.slice(from, to), MAX_DIFF_BYTES),
    shownNew: cutMiddle(before.slice(from, start) + newText + before.slice(end, to), MAX_DIFF_BYTES),
  };
}

function occurrences(text: string, part: string): number[] {
  const places: number[] = [];
  for (let at = text.indexOf(part); at !== -1; at = text.indexOf(part, at + 1)) places.push(at);
  return places;
}

function lineAt(text: string, place: number): number {
  return text.slice(0, place).split("\n").length;
}

function notFound(text: string, oldText: string, name: string): string {
  const line = lineOfSimilar(text, oldText);
  if (line !== undefined) {
    return `old_text was not found in ${name}. At line ${line} there is a passage that differs only in white space: read it with read_file and copy it exactly.`;
  }
  return `old_text was not found in ${name}: read the file again and copy the passage exactly as it stands.`;
}

/** The line where the same words stand with other white space. */
function lineOfSimilar(text: string, oldText: string): number | undefined {
  const words = oldText.trim().split(/\s+/);
  if (words[0] === "" || words.length > 500) return undefined;
  const pattern = words.map((word) => word.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("\\s+");
  const place = text.search(new RegExp(pattern));
  return place === -1 ? undefined : lineAt(text, place);
}

/** Start and end of the passage with some whole lines around it. */
function withContext(text: string, start: number, end: number): [number, number] {
  let from = start === 0 ? 0 : text.lastIndexOf("\n", start - 1) + 1;
  for (let lines = 0; lines < CONTEXT_LINES && from > 0; lines += 1) from = text.lastIndexOf("\n", from - 2) + 1;
  let to = end;
  for (let lines = 0; lines <= CONTEXT_LINES && to < text.length; lines += 1) {
    const next = text.indexOf("\n", to);
    to = next === -1 ? text.length : next + 1;
  }
  return [from, to];
}

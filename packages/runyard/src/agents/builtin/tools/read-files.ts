import { isUtf8 } from "node:buffer";
import { readFile, stat } from "node:fs/promises";
import { z } from "zod";
import { cutEnd } from "../text.ts";
import { ToolProblem } from "./problem.ts";
import { defineTool } from "./tool.ts";
import { relativeName, resolveInside, walk } from "./workspace.ts";

/** Larger files are not loaded: there are programs for them. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;
const MAX_READ_BYTES = 64 * 1024;
const MAX_READ_LINES = 2_000;
const MAX_LISTED = 500;

/** The text of a file; throws a `ToolProblem` for what is no text of a usable size. */
export async function readText(file: string, name: string): Promise<string> {
  const info = await stat(file);
  if (info.isDirectory()) throw new ToolProblem(`${name} is a directory: use list_files to see what is in it.`);
  if (!info.isFile()) throw new ToolProblem(`${name} is not a regular file.`);
  if (info.size > MAX_FILE_BYTES) {
    throw new ToolProblem(
      `${name} has ${info.size} bytes, which is too much for this tool: use run_command, for example with sed -n or head -c.`,
    );
  }
  const bytes = await readFile(file);
  if (looksBinary(bytes)) throw new ToolProblem(`${name} is a binary file of ${bytes.length} bytes.`);
  if (!isUtf8(bytes)) throw new ToolProblem(`${name} is text, but not in UTF-8: use run_command, for example with iconv.`);
  return bytes.toString("utf8");
}

export function looksBinary(bytes: Buffer): boolean {
  return bytes.subarray(0, 8192).includes(0);
}

export const readFileTool = defineTool({
  description:
    "Read a text file of the workspace. Returns its text as it is. Long files come in parts: give `offset` (first line, from 1) and `limit` (lines) to read on.",
  inputSchema: z.object({
    path: z.string().min(1).describe("Path of the file, relative to the working directory"),
    offset: z.int().min(1).optional().describe("First line to read, from 1"),
    limit: z.int().min(1).optional().describe(`Number of lines to read, at most ${MAX_READ_LINES}`),
  }),
  kind: "read",
  needsPermission: false,
  title: (input) => `Read ${cutEnd(input.path, 200)}`,
  async prepare(input, { root, further }) {
    const file = await resolveInside(root, input.path, further);
    const offset = input.offset ?? 1;
    return {
      locations: [{ path: file, line: offset }],
      async run() {
        const text = await readText(file, input.path);
        return { text: linesFrom(text, { offset, limit: input.limit ?? MAX_READ_LINES, name: input.path }) };
      },
    };
  },
});

/** The asked-for lines as they stand in the file, and a note where there are more. */
function linesFrom(text: string, wanted: { offset: number; limit: number; name: string }): string {
  if (text === "") return `[${wanted.name} is empty]`;
  const lines = text.split("\n");
  const count = lines.at(-1) === "" ? lines.length - 1 : lines.length;
  if (wanted.offset > count) throw new ToolProblem(`${wanted.name} has ${count} lines: there is nothing at line ${wanted.offset}.`);
  const first = wanted.offset - 1;
  const most = Math.min(count, first + Math.min(wanted.limit, MAX_READ_LINES));
  let end = first;
  let bytes = 0;
  while (end < most && (bytes += Buffer.byteLength(lines[end] ?? "") + 1) <= MAX_READ_BYTES) end += 1;
  if (end === first)
    return `${cutEnd(lines[first] ?? "", MAX_READ_BYTES / 4)}\n[line ${wanted.offset} is longer than ${MAX_READ_BYTES} bytes: use run_command, for example with cut -c, for the rest]`;
  const part = lines.slice(first, end).join("\n");
  if (end === count) return first === 0 ? text : part;
  return `${part}\n[lines ${wanted.offset} to ${end} of ${count}: read on with offset ${end + 1}]`;
}

export const listFilesTool = defineTool({
  description:
    "List the files and directories below a directory of the workspace, level by level. Directories end in a slash; .git and node_modules are left out.",
  inputSchema: z.object({
    path: z.string().min(1).optional().describe("Directory, relative to the working directory; default: all of it"),
  }),
  kind: "read",
  needsPermission: false,
  title: (input) => `List ${cutEnd(input.path ?? ".", 200)}`,
  async prepare(input, { root, further, signal }) {
    const directory = await resolveInside(root, input.path ?? ".", further);
    return {
      locations: [{ path: directory }],
      async run() {
        if (!(await stat(directory)).isDirectory()) throw new ToolProblem(`${input.path} is a file: use read_file.`);
        const names: string[] = [];
        let more = false;
        for await (const entry of walk(directory)) {
          more = names.length === MAX_LISTED;
          if (more || signal.aborted) break;
          names.push(relativeName(root, entry.file) + (entry.isDirectory ? "/" : ""));
        }
        if (names.length === 0) return { text: "[the directory is empty]" };
        return { text: names.join("\n") + (more ? `\n[there are more than ${MAX_LISTED}: list a directory below]` : "") };
      },
    };
  },
});

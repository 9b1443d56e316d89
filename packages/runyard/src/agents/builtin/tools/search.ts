import { readFile, stat } from "node:fs/promises";
import { createContext, Script } from "node:vm";
import { z } from "zod";
import { cutEnd, oneLine } from "../text.ts";
import { ToolProblem } from "./problem.ts";
import { looksBinary } from "./read-files.ts";
import { defineTool } from "./tool.ts";
import { relativeName, resolveInside, walk } from "./workspace.ts";

const MAX_MATCHES = 200;
const MAX_FILES = 20_000;
const MAX_FILE_BYTES = 2 * 1024 * 1024;
const MAX_LINE_CHARS = 300;
/** An expression that backtracks without end must not stop the agent, which could then not be cancelled. */
const MAX_MATCHING_MS = 2_000;

export const searchTool = defineTool({
  description:
    "Search the files of the workspace with a JavaScript regular expression, line by line. Returns path:line: text. Skips .git, node_modules and binary files.",
  inputSchema: z.object({
    pattern: z.string().min(1).describe("A JavaScript regular expression; case matters"),
    path: z.string().min(1).optional().describe("File or directory to search, relative to the working directory; default: all of it"),
  }),
  kind: "search",
  needsPermission: false,
  title: (input) => `Search ${oneLine(input.pattern, 80)}${input.path === undefined ? "" : ` in ${cutEnd(input.path, 100)}`}`,
  async prepare(input, { root, further, signal }) {
    const start = await resolveInside(root, input.path ?? ".", further);
    const expression = compile(input.pattern);
    return {
      locations: [{ path: start }],
      async run() {
        const found: string[] = [];
        let files = 0;
        for await (const file of filesBelow(start)) {
          if (signal.aborted || found.length > MAX_MATCHES || ++files > MAX_FILES) break;
          const text = await searchableText(file);
          if (text === undefined) continue;
          const name = relativeName(root, file);
          const lines = matchingLines(text, expression, MAX_MATCHES + 1 - found.length);
          found.push(...lines.map(([number, line]) => `${name}:${number}: ${cutEnd(line, MAX_LINE_CHARS)}`));
        }
        return { text: report(found, files) };
      },
    };
  },
});

function compile(pattern: string): RegExp {
  try {
    return new RegExp(pattern, "u");
  } catch {
    try {
      // Many expressions of everyday use are only valid without the strict "u" mode, for example `\-`.
      return new RegExp(pattern);
    } catch (error) {
      throw new ToolProblem(`The pattern is not a valid regular expression: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

async function* filesBelow(start: string): AsyncGenerator<string> {
  if (!(await stat(start)).isDirectory()) return yield start;
  for await (const entry of walk(start)) if (entry.isFile) yield entry.file;
}

async function searchableText(file: string): Promise<string | undefined> {
  const info = await stat(file).catch(() => undefined);
  if (info === undefined || !info.isFile() || info.size > MAX_FILE_BYTES) return undefined;
  const bytes = await readFile(file).catch(() => undefined);
  return bytes === undefined || looksBinary(bytes) ? undefined : bytes.toString("utf8");
}

const sandbox = createContext({ match: (): void => undefined });
const callMatch = new Script("match()");

function matchingLines(text: string, expression: RegExp, most: number): [number, string][] {
  const found: [number, string][] = [];
  sandbox["match"] = () => {
    for (const [index, line] of text.split(/\r?\n/).entries()) {
      if (found.length === most) return;
      if (expression.test(line)) found.push([index + 1, line]);
    }
  };
  try {
    callMatch.runInContext(sandbox, { timeout: MAX_MATCHING_MS });
  } catch (error) {
    // An error of the other context, and so not an instance of this one's Error.
    if ((error as NodeJS.ErrnoException).code === "ERR_SCRIPT_EXECUTION_TIMEOUT") {
      throw new ToolProblem("The pattern takes too long to match: write it without nested repetition.");
    }
    throw error;
  }
  return found;
}

function report(found: readonly string[], files: number): string {
  const notes = [
    found.length > MAX_MATCHES ? `[more than ${MAX_MATCHES} lines match: search for something narrower or in one directory]` : "",
    files > MAX_FILES ? `[only the first ${MAX_FILES} files were searched: give a path]` : "",
    found.length === 0 ? "[no line matches]" : "",
  ];
  return [...found.slice(0, MAX_MATCHES), ...notes.filter((note) => note !== "")].join("\n");
}

import { readdir } from "node:fs/promises";
import path from "node:path";
import { cutEnd, cutMiddle, oneLine } from "./text.ts";
import { readText } from "./tools/read-files.ts";
import { relativeName, resolveInside, walk } from "./tools/workspace.ts";

const MAX_PROJECT_BYTES = 32 * 1024;
/** Entries of the workspace that are looked through for further AGENTS.md: those near the top come first. */
const MAX_LOOKED_THROUGH = 20_000;
const MAX_NESTED = 50;
const MAX_SKILLS = 50;
const MAX_SKILL_CHARS = 500;
/** Where skills of a project are, each a folder with a SKILL.md. */
const SKILL_FOLDERS = [".agents/skills", ".claude/skills"];

/** What a project says to agents, as parts of the system prompt. */
export async function projectSays(root: string): Promise<string[]> {
  const [top, nested, skills] = await Promise.all([topInstructions(root), nestedInstructions(root), skillsOf(root)]);
  return [
    ...(top === null ? [] : [`The project says in its AGENTS.md how to work on it:\n\n<agents_md>\n${top}\n</agents_md>`]),
    ...(nested.length === 0
      ? []
      : [
          `Folders of the project have an AGENTS.md of their own. Before you change a file below one of these folders, read its AGENTS.md; where they differ, the one nearest to the file counts:\n${nested.map((file) => `- ${file}`).join("\n")}`,
        ]),
    ...(skills.length === 0
      ? []
      : [`The project has skills. When one fits what you are about to do, read its file first and go by it:\n${skills.join("\n")}`]),
  ];
}

async function topInstructions(root: string): Promise<string | null> {
  const text = await textOf(root, "AGENTS.md");
  return text === null || text.trim() === "" ? null : cutMiddle(text, MAX_PROJECT_BYTES);
}

async function nestedInstructions(root: string): Promise<string[]> {
  const found: string[] = [];
  let looked = 0;
  for await (const entry of walk(root)) {
    looked += 1;
    if (looked > MAX_LOOKED_THROUGH || found.length === MAX_NESTED) break;
    const name = relativeName(root, entry.file);
    if (entry.isFile && path.basename(name) === "AGENTS.md" && name !== "AGENTS.md") found.push(name);
  }
  return found;
}

/** One line for each skill: its name, what it is for, and its file. */
async function skillsOf(root: string): Promise<string[]> {
  const lines: string[] = [];
  for (const folder of SKILL_FOLDERS) {
    for (const name of await foldersIn(root, folder)) {
      const file = `${folder}/${name}/SKILL.md`;
      const text = await textOf(root, file);
      if (text === null || lines.length === MAX_SKILLS) continue;
      const { name: title = name, description = "" } = frontMatter(text);
      lines.push(`- ${oneLine(title, 100)}: ${cutEnd(oneLine(description, MAX_SKILL_CHARS), MAX_SKILL_CHARS)} (${file})`);
    }
  }
  return lines;
}

async function foldersIn(root: string, folder: string): Promise<string[]> {
  try {
    return (await readdir(await resolveInside(root, folder))).toSorted();
  } catch {
    return [];
  }
}

/** Null for what is not there, lies outside of the workspace, or is no text. */
async function textOf(root: string, name: string): Promise<string | null> {
  try {
    return await readText(await resolveInside(root, name), name);
  } catch {
    return null;
  }
}

/** The plain fields at the top of a file, between two lines of `---`: words, words in quotes, or a text on indented lines below. */
export function frontMatter(text: string): Partial<Record<string, string>> {
  const head = /^---\r?\n([\s\S]*?)\r?\n---(?:\r?\n|$)/.exec(text)?.[1] ?? "";
  const fields: Record<string, string> = {};
  let open: string | null = null;
  for (const line of head.split(/\r?\n/)) {
    const [, name, value = ""] = /^([\w-]+):(?:\s+(.*))?$/.exec(line) ?? [];
    if (name !== undefined) {
      open = /^[>|][+-]?$/.test(value.trim()) || value.trim() === "" ? name : null;
      fields[name] = open === null ? unquoted(value.trim()) : "";
    } else if (open !== null && /^\s/.test(line)) fields[open] = `${fields[open]} ${line.trim()}`.trim();
  }
  return fields;
}

function unquoted(value: string): string {
  return /^(["'])(.*)\1$/.exec(value)?.[2] ?? value;
}

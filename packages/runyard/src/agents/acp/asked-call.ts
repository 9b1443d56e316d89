import type { ToolKind } from "@runyard/sdk/contract";
import type { AskedCall } from "../../core/permission-decision.ts";
import { placeInWorkspace } from "../../core/workspace-path.ts";
import { readArray, readObject, readText, type Json, type JsonObject } from "./json.ts";
import { MAX_DIFFS, MAX_LOCATIONS, type ToolView } from "./tools.ts";

/** Longest command, and longest sum of paths, that rules are tried on, in characters: what matching costs goes by it. */
const MAX_MATCHED_CHARS = 16_384;
/** Names under which agents pass the file that a tool works on. */
const PATH_FIELDS = ["path", "file_path", "filePath", "filepath"] as const;

/** What a request for permission says of its call, as far as rules go by it; `known` is what was said of it before. */
export function readAskedCall(
  call: JsonObject,
  about: {
    readonly kind: ToolKind;
    readonly known: ToolView | null;
    readonly workspace: string;
    /** What belongs to the workspace beside it. */
    readonly further?: readonly string[];
    readonly titleIsCommand?: boolean;
  },
): AskedCall {
  const input = readObject(call["rawInput"]);
  const title = readText(call["title"]);
  const isTitle = about.titleIsCommand === true && about.kind === "execute";
  const command = readCommand(isTitle ? title : input?.["command"], title);
  const own = [
    ...pathsOf(call["locations"]),
    ...pathsOf(call["content"]),
    ...PATH_FIELDS.flatMap((field) => readText(input?.[field]) ?? []),
  ];
  // Of a command, agents have named the folder that it runs in.
  const before = command === null ? pathsBefore(about.known) : { paths: [], isWhole: true };
  const named = [...own, ...before.paths].filter((path) => path !== "");
  const paths = [...new Set(named.map((path) => placeInWorkspace(path, about.workspace, about.further)))];
  const length = Math.max((command ?? "").length, paths.join("").length);
  if (length > MAX_MATCHED_CHARS || !before.isWhole) return { kind: about.kind, paths: [], command: null, isWhole: false };
  return { kind: about.kind, paths, command, isWhole: true };
}

function pathsOf(list: Json | undefined): string[] {
  return readArray(list).flatMap((item) => readText(readObject(item)?.["path"]) ?? []);
}

/** What is known of a call is bounded: where it may be cut, more than it names may be meant. */
function pathsBefore(known: ToolView | null): { readonly paths: readonly string[]; readonly isWhole: boolean } {
  const { locations, diffs } = known ?? { locations: [], diffs: [] };
  return {
    paths: [...locations, ...diffs.map((diff) => diff.path)],
    isWhole: locations.length < MAX_LOCATIONS && diffs.length < MAX_DIFFS,
  };
}

/** The command line; of a list of words, what a shell among them would run. */
function readCommand(value: Json | undefined, title: string | null): string | null {
  const words = readArray(value).flatMap((word) => readText(word) ?? []);
  const hasShell = /(^|\/)(ba|da|z|k)?sh$/.test(words[0] ?? "") && /^-l?c$/.test(words[1] ?? "");
  const line = readText(value) ?? (hasShell && words.length === 3 ? words[2] : words.join(" ")) ?? "";
  if (line.trim() === "") return null;
  // Codex's adapter quotes a line that holds quotes as one word, and leaves its title as it is.
  return title !== null && unquote(line) === title ? title : line;
}

/** What a shell makes of a single word; null for anything that is more than one. */
function unquote(line: string): string | null {
  if (!/^(?:[^\s"'\\]|\\[\s\S]|"(?:[^"\\]|\\[\s\S])*"|'[^']*')+$/.test(line)) return null;
  return line.replaceAll(/"((?:[^"\\]|\\[\s\S])*)"|'([^']*)'|\\([\s\S])/g, (_, double?: string, single?: string, escaped?: string) =>
    double === undefined ? (single ?? escaped ?? "") : double.replaceAll(/\\([\\"$`])/g, "$1"),
  );
}

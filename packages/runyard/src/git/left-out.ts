import { harmless } from "./commit-result.ts";

/** What a checkout has not got, though the repository names it. */
export interface LeftOut {
  readonly code: "submodules-left-out" | "lfs-left-out";
  readonly message: string;
}

/** More names than this are not counted. */
const MOST = 1_000;
const SHOWN = 5;

const KINDS = [
  {
    word: "submodule",
    code: "submodules-left-out",
    meaning:
      "Submodules are not fetched: their folders are empty in the workspace, and a change of what they point to is not made by the run",
  },
  {
    word: "lfs",
    code: "lfs-left-out",
    meaning: "Files of Git LFS are not fetched: the workspace has their pointers, and what the agent writes to them is committed as it is",
  },
] as const;

/**
 * A shell function that says what the checkout where one stands has not got, a line for each name; newlines in names
 * become \\001. Attributes are looked at only where the repository mentions LFS at all.
 */
export const SAY_LEFT_OUT = `say_left_out() {
git ls-files -s -z | tr '\\n\\000' '\\001\\n' | sed -n "s/^160000 [0-9a-f]* 0$(printf '\\t')/submodule /p" | head -n ${MOST + 1}
git grep --cached -q -e filter=lfs -- ':(top,glob)**/.gitattributes' || return 0
git ls-files -z -- ':(top,attr:filter=lfs)' | tr '\\n\\000' '\\001\\n' | sed 's/^/lfs /' | head -n ${MOST + 1}
}`;

/** Reads what that function has said. */
export function readLeftOut(output: string): LeftOut[] {
  const lines = output.split("\n");
  return KINDS.flatMap(({ word, code, meaning }) => {
    const names = lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));
    return names.length === 0 ? [] : [{ code, message: `${meaning}: ${some(names)}.` }];
  });
}

function some(names: readonly string[]): string {
  const shown = names.slice(0, SHOWN).map((name) => harmless(name.length > 200 ? `${name.slice(0, 200)}…` : name));
  const more = names.length - shown.length;
  if (more <= 0) return shown.join(", ");
  return `${shown.join(", ")} and ${names.length > MOST ? `more than ${MOST - SHOWN}` : more} more`;
}

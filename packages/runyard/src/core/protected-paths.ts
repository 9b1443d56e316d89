import type { ProtectedFile, ProtectedPath } from "@runyard/sdk/contract";
import { globMatcher } from "./glob.ts";

/** What always waits for a person, where no setting speaks of it: what a host of repositories runs by itself, and who must review what. */
export const ALWAYS_PROTECTED: readonly ProtectedPath[] = [
  ".github/workflows/**",
  "CODEOWNERS",
  ".github/CODEOWNERS",
  "docs/CODEOWNERS",
].map((pattern) => ({ pattern, policy: "approve" }));

const STRICTNESS = { allow: 0, approve: 1, refuse: 2 } as const;

/**
 * The files among these that are not published like any other, in their order. Of several settings for a file, whoever made
 * them, the strictest counts; what is always protected counts for files of which none speaks.
 */
export function protectedFiles(files: readonly string[], settings: readonly ProtectedPath[]): ProtectedFile[] {
  const lists = [settings, ALWAYS_PROTECTED].map((list) =>
    list.map(ruleOf).toSorted((a, b) => STRICTNESS[b.policy] - STRICTNESS[a.policy]),
  );
  return files.flatMap((path) => {
    // Disks that take capital and small letters for the same find a file under either.
    const lower = path.toLowerCase();
    const rules = lists.flatMap((list) => list.find(({ isMeant }) => isMeant(lower)) ?? []);
    const { policy = "allow", pattern = "" } = rules[0] ?? {};
    return policy === "allow" ? [] : [{ path, pattern, policy }];
  });
}

interface Rule extends ProtectedPath {
  /** Of a path in small letters. */
  readonly isMeant: (path: string) => boolean;
}

function ruleOf({ pattern, policy }: ProtectedPath): Rule {
  const lower = pattern.toLowerCase();
  const matches = globMatcher(lower, { isPath: true });
  const folders = foldersOf(lower);
  return { pattern, policy, isMeant: (path) => matches(path) || folders.has(path) };
}

/** The folders that a pattern names as they are: a file, such as a link, in the place of one leads elsewhere all that it protects. */
function foldersOf(pattern: string): Set<string> {
  const names = pattern.split("/");
  const wild = names.findIndex((name) => /[*?{\\]/.test(name));
  const folders = names.slice(0, wild === -1 ? -1 : wild);
  return new Set(folders.map((_, index) => folders.slice(0, index + 1).join("/")));
}

const NAMED = 3;

/** Why a result is held back, in words: "It touches 2 protected files: CODEOWNERS and .github/workflows/ci.yml". */
export function protectedTitle(files: readonly Pick<ProtectedFile, "path">[]): string {
  const names = files.slice(0, NAMED).map(({ path }) => path);
  const more = files.length - names.length;
  const list = more > 0 ? `${names.join(", ")} and ${more} more` : names.join(", ");
  return `It touches ${files.length === 1 ? "a protected file" : `${files.length} protected files`}: ${list}`;
}

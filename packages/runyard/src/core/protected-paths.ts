import type { ProtectedFile, ProtectedPath } from "@runyard/sdk/contract";
import { matchesGlob } from "./glob.ts";

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
  return files.flatMap((path) => {
    const { policy, pattern } = strictest(path, settings) ?? strictest(path, ALWAYS_PROTECTED) ?? FREE;
    return policy === "allow" ? [] : [{ path, pattern, policy }];
  });
}

const FREE: ProtectedPath = { pattern: "", policy: "allow" };

function strictest(path: string, list: readonly ProtectedPath[]): ProtectedPath | null {
  let found: ProtectedPath | null = null;
  for (const one of list)
    if ((found === null || STRICTNESS[one.policy] > STRICTNESS[found.policy]) && isMeant(path, one.pattern)) found = one;
  return found;
}

/** Disks that take capital and small letters for the same find a file under either. */
function isMeant(path: string, pattern: string): boolean {
  const [lowerPath, lowerPattern] = [path.toLowerCase(), pattern.toLowerCase()];
  return matchesGlob(lowerPattern, lowerPath, { isPath: true }) || stands(lowerPath, lowerPattern);
}

/** A file, such as a link, in the place of a folder that the pattern names leads elsewhere everything that it protects. */
function stands(path: string, pattern: string): boolean {
  const names = pattern.split("/");
  const wild = names.findIndex((name) => /[*?{\\]/.test(name));
  const folders = names.slice(0, wild === -1 ? -1 : wild);
  return folders.some((_, index) => folders.slice(0, index + 1).join("/") === path);
}

const NAMED = 3;

/** Why a result is held back, in words: "It touches 2 protected files: CODEOWNERS and .github/workflows/ci.yml". */
export function protectedTitle(files: readonly Pick<ProtectedFile, "path">[]): string {
  const names = files.slice(0, NAMED).map(({ path }) => path);
  const more = files.length - names.length;
  const list = more > 0 ? `${names.join(", ")} and ${more} more` : names.join(", ");
  return `It touches ${files.length === 1 ? "a protected file" : `${files.length} protected files`}: ${list}`;
}

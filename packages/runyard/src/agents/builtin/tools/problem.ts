/** Something that the model can understand and correct: the message is what it reads. */
export class ToolProblem extends Error {
  override readonly name = "ToolProblem";
}

const ERRNO_WORDS: Record<string, string> = {
  ENOENT: "there is no such file or directory",
  EACCES: "permission denied",
  EPERM: "that is not permitted",
  EISDIR: "it is a directory, not a file",
  ENOTDIR: "a part of the path is a file, not a directory",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EROFS: "the workspace is read-only",
  ELOOP: "the path goes round in circles through symbolic links",
  ENAMETOOLONG: "the path is too long",
};

/** What to tell the model about an error of a tool, in a sentence. */
export function problemText(error: unknown): string {
  if (error instanceof ToolProblem) return error.message;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const words = ERRNO_WORDS[code];
  if (words !== undefined) return `Failed: ${words}.`;
  return `Failed: ${error instanceof Error ? error.message : String(error)}`;
}

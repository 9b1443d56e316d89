import { existsSync } from "node:fs";
import path from "node:path";
import { CliError, EXIT } from "./exit-codes.ts";

/** A repository as somebody names it: the folder on this machine as an absolute path, a URL of another one as it is. */
export function repositoryArgument(text: string): string {
  if (!isUrl(text)) return path.resolve(text);
  if (!/^https?:\/\/[^/]*@/i.test(text)) return text;
  throw new CliError("A repository's URL must not hold a user name, password or token.", {
    advice:
      "Store the token with `runyard credentials add <URL> --token-stdin`, and give the URL without it. Replace one that others may have seen.",
    exitCode: EXIT.usage,
  });
}

/** A folder that happens to look like one is a folder. */
function isUrl(text: string): boolean {
  return !text.startsWith("/") && (/^[a-z][a-z0-9+.-]*:\/\//i.test(text) || (/^[^/]+@[^/]+:/.test(text) && !existsSync(text)));
}

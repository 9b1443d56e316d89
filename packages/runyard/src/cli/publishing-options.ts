import { commitAuthorSchema, type CommitAuthor, PATH_POLICIES, protectedPathSchema, type ProtectedPath } from "@runyard/sdk/contract";
import { type Command, InvalidArgumentError, Option } from "commander";
import { checkedOption, givenBefore } from "./option-value.ts";

/** What the options say of how results are published; false: none any more. */
export interface PublishingOptions {
  readonly commitAuthor?: CommitAuthor | false;
  readonly coAuthor?: boolean;
  readonly protect?: ProtectedPath[] | false;
}

/** Names of the options that are added here, for headings in help. */
export const PUBLISHING_OPTIONS = ["commit-author", "co-author", "protect"] as const;

/** `whose` is what the results are those of. */
export function addPublishingOptions(command: Command, whose: string): Command {
  return command
    .addOption(new Option("--commit-author <author>", `who the commits of ${whose} are by: "Name <address>"`).argParser(parseAuthor))
    .option("--no-commit-author", "none of its own")
    .option("--co-author", "commits name who asked, as a co-author")
    .option("--no-co-author", "they do not")
    .addOption(
      new Option(
        "--protect <pattern>",
        "files of which a result is not published before a person approves it; refuse:<pattern> never, allow:<pattern> at once; may be repeated",
      ).argParser(collectPaths),
    )
    .option("--no-protect", "none of its own");
}

/** The part of a change of a repository or an organization that these options make. */
export function publishingRequest({ commitAuthor, coAuthor, protect }: PublishingOptions): {
  commitAuthor?: CommitAuthor | null;
  coAuthor?: boolean;
  protectedPaths?: ProtectedPath[];
} {
  return {
    ...(commitAuthor !== undefined && { commitAuthor: commitAuthor === false ? null : commitAuthor }),
    ...(coAuthor !== undefined && { coAuthor }),
    ...(protect !== undefined && { protectedPaths: protect === false ? [] : protect }),
  };
}

interface Shown {
  readonly commitAuthor: CommitAuthor | null;
  readonly coAuthor: boolean | null;
  readonly protectedPaths: readonly ProtectedPath[];
}

/** Lines for people. */
export function renderPublishing({ commitAuthor, coAuthor, protectedPaths }: Shown, row: (name: string, text: string) => string): string[] {
  const author = commitAuthor === null ? [] : [`${commitAuthor.name} <${commitAuthor.email}>`];
  const named = coAuthor === true ? ["with who asked as a co-author"] : coAuthor === false && commitAuthor !== null ? ["alone"] : [];
  const paths = protectedPaths.map(({ pattern, policy }) => (policy === "approve" ? pattern : `${policy}:${pattern}`));
  return [
    ...(author.length + named.length === 0 ? [] : [row("author", [...author, ...named].join(", "))]),
    ...(paths.length === 0 ? [] : [row("protect", paths.join(", "))]),
  ];
}

function parseAuthor(value: string): CommitAuthor {
  const [, name = "", email = ""] = /^([^<>]*)<([^<>]*)>\s*$/.exec(value) ?? [];
  const parsed = commitAuthorSchema.safeParse({ name, email });
  if (parsed.success) return parsed.data;
  throw new InvalidArgumentError('It must be a name and an address, for example "Jane Doe <jane@example.com>".');
}

function collectPaths(value: string, before?: unknown): ProtectedPath[] {
  const policy = PATH_POLICIES.find((one) => value.startsWith(`${one}:`));
  const pattern = policy === undefined ? value : value.slice(policy.length + 1);
  return [...givenBefore<ProtectedPath>(before), checkedOption(protectedPathSchema, { pattern, policy: policy ?? "approve" })];
}

import { type CreateRunRequest, type FurtherRepositoryRequest, repositoryNameSchema } from "@runyard/sdk/contract";
import { type Command, InvalidArgumentError, Option } from "commander";
import { repositoryArgument } from "./repository-argument.ts";

/** What the options say of further repositories. */
export interface RepositoryOptions {
  readonly addRepo?: readonly FurtherRepositoryRequest[];
  readonly readRepo?: readonly FurtherRepositoryRequest[];
}

/** Adds `--add-repo` and `--read-repo`. */
export function addRepositoryOptions(command: Command): Command {
  return command
    .option(
      "--add-repo <place>",
      "another repository that the agent works on, in ../repositories/<name>: path, path#branch or name=path; may be repeated",
      collect("write"),
    )
    .option("--read-repo <place>", "another one that it may only read, written in the same way; may be repeated", collect("read"));
}

/** The part of a request that these options make. */
export function repositoryRequest({ addRepo = [], readRepo = [] }: RepositoryOptions): Pick<CreateRunRequest, "repositories"> {
  const repositories = [...addRepo, ...readRepo];
  return repositories.length === 0 ? {} : { repositories };
}

/** For commands that show what a run changed. */
export const repositoryOption = (): Option =>
  new Option("--repository <name>", "in that further repository of the run, in place of its first one");

function collect(access: "read" | "write") {
  return (word: string, before: readonly FurtherRepositoryRequest[] = []): FurtherRepositoryRequest[] => [
    ...before,
    { ...parsePlace(word), ...(access === "read" && { access }) },
  ];
}

/** `[name=]path[#branch]`. A path with a `#` is written with one more at its end, and one with a `=` in front of its first slash behind `./`. */
export function parsePlace(word: string): Pick<FurtherRepositoryRequest, "repositoryUrl" | "name" | "branch"> {
  const [, name, rest = ""] = /^(?:([^=/#:]*)=)?(.*)$/s.exec(word) ?? [];
  const at = rest.lastIndexOf("#");
  const [place, branch] = at < 0 ? [rest, ""] : [rest.slice(0, at), rest.slice(at + 1)];
  if (place === "") throw new InvalidArgumentError("It must name the folder of a repository: path, path#branch or name=path.");
  if (name !== undefined && !repositoryNameSchema.safeParse(name).success)
    throw new InvalidArgumentError(`${JSON.stringify(name)} cannot be a name: letters, digits, dots, dashes and underscores, 64 at most.`);
  return {
    repositoryUrl: repositoryArgument(place),
    ...(name !== undefined && { name }),
    ...(branch !== "" && { branch }),
  };
}

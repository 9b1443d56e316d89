import { RunyardApiError } from "@runyard/sdk";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { paintFor, print, printable, printJson, say, shellWord } from "./output.ts";
import { renderFiles } from "./render-files.ts";
import { repositoryOption } from "./repository-options.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";
import { workspaceFiles, writeTo } from "./workspace-files.ts";

interface FilesOptions {
  readonly workspace?: boolean;
  readonly output?: string;
  readonly repository?: string;
  readonly json?: boolean;
}

export const files = command("files", {
  summary: "List or fetch the files that a run changed, or those of its workspace",
  group: GROUP.runs,
  more: "A file comes byte for byte, as the run left it, changed or not. With --workspace it comes from the workspace as it is now, as long as that is kept: also what git does not know or ignores, and whole folders.",
  examples: [
    "runyard files last",
    "runyard files last src/index.ts",
    "runyard files 62g7a1 docs/logo.png -o logo.png",
    "runyard files last --workspace dist -o dist-of-the-run",
    "runyard files last --workspace -o all.tar",
  ],
})
  .argument("<run>", RUN_ARGUMENT)
  .argument("[path]", "a file, from the top of the repository; with --workspace a folder too")
  .option("-w, --workspace", "look into the workspace as it is now, in place of what the run has committed")
  .option("-o, --output <place>", "write there: a file; for a folder a new or empty folder, or an archive where it ends in .tar")
  .addOption(repositoryOption().conflicts("workspace"))
  .addOption(jsonOption())
  .action(async (name: string, path: string | undefined, options: FilesOptions) => {
    const { output, json = false, workspace, repository } = options;
    const of = repository === undefined ? {} : { repository };
    if (workspace !== true && path !== undefined && json && output === undefined)
      throw new CliError("A file is written as it is, and --json is for the list.", {
        advice: "Leave one of them out.",
        exitCode: EXIT.usage,
      });
    if (workspace !== true && output !== undefined && path === undefined)
      throw new CliError("-o needs a file to write.", {
        advice: "Name its path, or fetch the workspace with --workspace.",
        exitCode: EXIT.usage,
      });
    const client = connect();
    const id = await findRunId(client, name);
    const wanted = path?.replace(/^(\.\/)+|^\.$|\/+$/g, "") ?? "";
    if (workspace === true) {
      const place = { id, path: wanted, output: output ?? null, json };
      return fileOf(
        () => workspaceFiles(client, place, (content) => showFile(content, { id, path: wanted, from: " --workspace" })),
        wanted,
        "runyard files <run> --workspace",
      );
    }
    if (path !== undefined && output !== undefined) {
      const content = await fileOf(() => client.runs.file(id, wanted, of), path);
      const size = await writeTo(output, toPieces(content));
      if (json) printJson({ output, files: 1, bytes: size, skipped: [] });
      return;
    }
    if (path !== undefined) return showFile(await fileOf(() => client.runs.file(id, wanted, of), path), { id, path });
    const { data } = await client.runs.files(id, of);
    if (json) printJson({ data });
    else if (data.length === 0) say("This run changed no file (yet).");
    else for (const line of renderFiles(data, paintFor(process.stdout))) print(line);
  });

async function* toPieces(content: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield content;
}

async function fileOf<T>(read: () => Promise<T>, path: string, list = "runyard files <run>"): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (RunyardApiError.is(error) && error.status === 404 && error.code !== "run_not_found" && error.code !== "repository_not_found")
      throw new CliError(error.message, {
        advice: `\`${list}\` lists what there is; give the path from the top of the repository.`,
      });
    if (RunyardApiError.is(error) && (error.code === "workspace_not_kept" || error.code === "workspace_not_here"))
      throw new CliError(error.message, { exitCode: EXIT.refused });
    if (error instanceof TypeError) throw new CliError(`${JSON.stringify(path)} is not a path in a repository.`, { exitCode: EXIT.usage });
    throw error;
  }
}

/** To a terminal only what is text, and nothing in it that could steer the terminal. */
function showFile(content: Uint8Array, file: { readonly id: string; readonly path: string; readonly from?: string }): void {
  if (!process.stdout.isTTY) return void process.stdout.write(content);
  if (content.includes(0)) {
    throw new CliError(`${file.path} is no text.`, {
      advice: `Write it to a file: runyard files ${file.id}${file.from ?? ""} ${shellWord(file.path)} > copy`,
      exitCode: EXIT.refused,
    });
  }
  process.stdout.write(printable(new TextDecoder().decode(content)));
}

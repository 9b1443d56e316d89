import { RunyardApiError } from "@runyard/sdk";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { paintFor, print, printable, printJson, say, shellWord } from "./output.ts";
import { renderFiles } from "./render-files.ts";
import { findRunId, RUN_ARGUMENT } from "./run-reference.ts";

export const files = command("files", {
  summary: "List the files that a run changed, or print one file",
  group: GROUP.runs,
  more: "A file comes byte for byte, as the run left it, changed or not.",
  examples: ["runyard files last", "runyard files last src/index.ts", "runyard files 62g7a1 docs/logo.png > logo.png"],
})
  .argument("<run>", RUN_ARGUMENT)
  .argument("[path]", "a file, from the top of the repository")
  .addOption(jsonOption())
  .action(async (name: string, path: string | undefined, options: { json?: boolean }) => {
    if (path !== undefined && options.json === true)
      throw new CliError("A file is written as it is, and --json is for the list.", {
        advice: "Leave one of them out.",
        exitCode: EXIT.usage,
      });
    const client = connect();
    const id = await findRunId(client, name);
    if (path !== undefined) return showFile(await fileOf(() => client.runs.file(id, path.replace(/^\.\//, "")), path), { id, path });
    const { data } = await client.runs.files(id);
    if (options.json === true) printJson({ data });
    else if (data.length === 0) say("This run changed no file (yet).");
    else for (const line of renderFiles(data, paintFor(process.stdout))) print(line);
  });

async function fileOf(read: () => Promise<Uint8Array>, path: string): Promise<Uint8Array> {
  try {
    return await read();
  } catch (error) {
    if (RunyardApiError.is(error) && error.status === 404 && error.code !== "run_not_found")
      throw new CliError(error.message, {
        advice: "`runyard files <run>` lists what changed; give the path from the top of the repository.",
      });
    if (error instanceof TypeError) throw new CliError(`${JSON.stringify(path)} is not a path in a repository.`, { exitCode: EXIT.usage });
    throw error;
  }
}

/** To a terminal only what is text, and nothing in it that could steer the terminal. */
function showFile(content: Uint8Array, file: { readonly id: string; readonly path: string }): void {
  if (!process.stdout.isTTY) return void process.stdout.write(content);
  if (content.includes(0)) {
    throw new CliError(`${file.path} is no text.`, {
      advice: `Write it to a file: runyard files ${file.id} ${shellWord(file.path)} > copy`,
      exitCode: EXIT.refused,
    });
  }
  process.stdout.write(printable(new TextDecoder().decode(content)));
}

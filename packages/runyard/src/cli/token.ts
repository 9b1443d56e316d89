import { readFileSync } from "node:fs";
import { defaultHomeRoot, homeAt } from "../home.ts";
import { command, GROUP, jsonOption } from "./commands.ts";
import { NEW_TOKEN } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { print, printJson, say } from "./output.ts";
import { explainSystemError } from "./system-error.ts";

export const token = command("token", {
  summary: "Say which file holds the server's token",
  group: GROUP.server,
  more: "Whoever has the token may do everything: start agents, read logs, cancel runs.",
  examples: ["runyard token", 'curl -H "Authorization: Bearer $(runyard token --show)" http://127.0.0.1:4600/v1/status'],
})
  .option("--show", "print the token itself")
  .addOption(jsonOption())
  .action((options: { show?: boolean; json?: boolean }) => {
    const { adminTokenFile } = homeAt(defaultHomeRoot());
    const value = readToken(adminTokenFile);
    if (process.env["RUNYARD_TOKEN"]) say("RUNYARD_TOKEN is set: commands use that one, not this.");
    if (options.json === true) printJson({ tokenFile: adminTokenFile, ...(options.show === true ? { token: value } : {}) });
    else print(options.show === true ? value : adminTokenFile);
  });

function readToken(file: string): string {
  try {
    const value = readFileSync(file, "utf8").trim();
    if (value !== "") return value;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      throw new CliError(`There is no token yet: ${file} does not exist.`, { advice: "The first `runyard up` makes it." });
    }
    throw new CliError(explainSystemError(error, file)?.message ?? `${file} cannot be read: ${(error as Error).message}`, {
      advice: "Use the user that runs the server.",
      exitCode: EXIT.notAuthorised,
    });
  }
  throw new CliError(`${file} is empty.`, { advice: NEW_TOKEN, exitCode: EXIT.notAuthorised });
}

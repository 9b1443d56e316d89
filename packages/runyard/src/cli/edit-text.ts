import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CliError, EXIT } from "./exit-codes.ts";
import { splitWords } from "./words.ts";

export interface EditedText {
  readonly text: string;
  /** Where it stands until it is thrown away. */
  readonly file: string;
  discard(): void;
}

/** Lets a person change a text in their editor. */
export async function editText(text: string, name: string, env: NodeJS.ProcessEnv = process.env): Promise<EditedText> {
  if (!process.stdin.isTTY || !process.stdout.isTTY)
    throw new CliError("--edit needs a terminal.", {
      advice: "Give the text with --file, or with --file - on stdin.",
      exitCode: EXIT.usage,
    });
  const words = editorOf(env);
  const folder = mkdtempSync(path.join(tmpdir(), "runyard-edit-"));
  const file = path.join(folder, name);
  const discard = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    writeFileSync(file, `${text.trimEnd()}\n`, { mode: 0o600 });
    await runEditor(words, file);
    return { text: readFileSync(file, "utf8"), file, discard };
  } catch (error) {
    discard();
    throw error;
  }
}

function editorOf(env: NodeJS.ProcessEnv): readonly string[] {
  const line = env["VISUAL"] || env["EDITOR"] || "";
  const words = splitWords(line);
  if (words.length > 0) return words;
  throw new CliError("No editor is set.", {
    advice: "Set VISUAL or EDITOR, for example EDITOR=nano; or give the text with --file.",
    exitCode: EXIT.usage,
  });
}

async function runEditor([program = "", ...words]: readonly string[], file: string): Promise<void> {
  // Ctrl-C is the editor's while it is open.
  const ignore = (): void => undefined;
  process.on("SIGINT", ignore);
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      spawn(program, [...words, file], { stdio: "inherit" })
        .once("error", reject)
        .once("close", resolve);
    });
    if (code !== 0) throw new CliError(`${program} ended with code ${code ?? "none"}, so nothing was decided.`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new CliError(`The editor ${program} was not found.`, { advice: "Set VISUAL or EDITOR to another one.", exitCode: EXIT.usage });
  } finally {
    process.off("SIGINT", ignore);
  }
}

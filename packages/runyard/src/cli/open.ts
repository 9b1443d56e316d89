import { spawn } from "node:child_process";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { print, printJson, say } from "./output.ts";

export const open = command("open", {
  summary: "Make a link that signs one browser in, and open it",
  group: GROUP.server,
  more: "The link works once. It is printed on stdout. A browser is started only from a terminal on a machine with a display.",
  examples: ["runyard open", "runyard open --no-browser", "runyard open --json | jq -r .url"],
})
  .option("--no-browser", "print the link, and start no browser")
  .addOption(jsonOption())
  .action(async (options: { browser: boolean; json?: boolean }) => {
    const link = await connect().createLoginLink();
    if (options.json === true) return printJson(link);
    print(link.url);
    const until = new Date(link.expiresAt).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
    if (options.browser && hasDisplay(process.env) && process.stdout.isTTY && (await startBrowser(link.url)))
      say("A browser opens with this link. It works once.");
    else say(`Open it in a browser before ${until}. It works once.`);
  });

function hasDisplay(env: NodeJS.ProcessEnv): boolean {
  return process.platform === "darwin" || Boolean(env["DISPLAY"]) || Boolean(env["WAYLAND_DISPLAY"]);
}

/** Starts whatever the desktop opens links with; false where there is no such program. */
function startBrowser(url: string): Promise<boolean> {
  const program = process.platform === "darwin" ? "open" : "xdg-open";
  return new Promise((resolve) => {
    const child = spawn(program, [url], { stdio: "ignore", detached: true });
    child.once("error", () => resolve(false));
    child.once("spawn", () => {
      child.unref();
      resolve(true);
    });
  });
}

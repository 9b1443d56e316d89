import { existsSync, statfsSync, statSync } from "node:fs";
import path from "node:path";
import type { Finding } from "../doctor.ts";
import type { Home } from "../home.ts";
import { git } from "./git.ts";
import { homeProblem } from "./home-problem.ts";
import { lookAtRemotes } from "./look-at-remotes.ts";
import { bytes } from "./output.ts";

const MIB = 1024 ** 2;
/** Below this a database and one run with its workspace hardly fit. */
const LEAST_BYTES = 500 * MIB;
const COMFORTABLE_BYTES = 5 * 1024 * MIB;

/** Node, git, and the place where Runyard keeps everything. */
export async function lookAtSystem(home: Home, env: NodeJS.ProcessEnv): Promise<Finding[]> {
  return [lookAtNode(), await lookAtGit(), await lookAtRemotes(env), lookAtHome(home), lookAtDisk(home)];
}

/** The program itself refuses a Node that is too old, so this one is new enough. */
function lookAtNode(): Finding {
  return ok("node", `${process.version} at ${process.execPath}`);
}

async function lookAtGit(): Promise<Finding> {
  const answer = await git("/", "--version").catch(() => null);
  if (answer?.code === 0) return ok("git", answer.stdout.trim().replace(/^git version /, ""));
  return gap("git", { found: "not installed, or not on the PATH", advice: "Install git, for example: sudo apt-get install git" });
}

function lookAtHome({ root }: Home): Finding {
  const problem = homeProblem(root);
  if (problem !== null) return gap("home", problem);
  if (!existsSync(root)) return ok("home", `${root} (the first start makes it)`);
  if ((statSync(root).mode & 0o022) !== 0)
    return { ...ok("home", `${root} can be written by other users`), state: "warning", advice: `Take the right away: chmod 700 ${root}` };
  return ok("home", root);
}

function lookAtDisk({ root }: Home): Finding {
  const place = nearestFolder(root);
  const { bavail, bsize } = statfsSync(place);
  const free = bavail * bsize;
  const found = `${bytes(free)} free for ${root}`;
  if (free >= COMFORTABLE_BYTES) return ok("disk", found);
  const advice = "Make room, or set RUNYARD_HOME to a larger disk: workspaces and caches of repositories are kept there.";
  return { ...ok("disk", found), state: free < LEAST_BYTES ? "problem" : "warning", advice };
}

/** The folder itself, or the nearest one above it that exists. */
function nearestFolder(folder: string): string {
  return existsSync(folder) || path.dirname(folder) === folder ? folder : nearestFolder(path.dirname(folder));
}

function ok(name: string, found: string): Finding {
  return { area: "system", name, state: "ok", found, advice: null };
}

function gap(name: string, { found, advice }: { readonly found: string; readonly advice: string }): Finding {
  return { area: "system", name, state: "problem", found, advice };
}

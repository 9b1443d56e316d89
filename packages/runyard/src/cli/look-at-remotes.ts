import { existsSync } from "node:fs";
import path from "node:path";
import { repositoryHostsFromEnvironment } from "../configuration.ts";
import type { Finding } from "../doctor.ts";
import { git } from "./git.ts";

/** By what repositories on other machines can be reached from here. */
export async function lookAtRemotes(env: NodeJS.ProcessEnv): Promise<Finding> {
  const finding = { area: "system", name: "remotes", advice: null } as const;
  let hosts: readonly string[];
  try {
    hosts = repositoryHostsFromEnvironment(env);
  } catch (error) {
    const found = "RUNYARD_REPOSITORY_HOSTS is not usable, so that `runyard up` refuses to start";
    return { ...finding, state: "problem", found, advice: (error as Error).message };
  }
  const programs = (await git("/", "--exec-path").catch(() => null))?.stdout.trim() ?? "";
  const https = existsSync(path.join(programs, "git-remote-https"));
  const ssh = (env["PATH"] ?? "").split(":").some((dir) => path.isAbsolute(dir) && existsSync(path.join(dir, "ssh")));
  const ways = [...(https ? ["https"] : []), ...(ssh ? ["ssh"] : [])];
  const allowed = hosts.length === 0 ? "" : `; at private addresses, or by http: ${hosts.join(", ")}`;
  const found = `repositories by ${ways.length === 0 ? "no URL" : ways.join(" and ")}${allowed}`;
  if (https) return { ...finding, state: "ok", found };
  return { ...finding, state: "none", found, advice: "Install git with its program git-remote-https to use repositories by https." };
}

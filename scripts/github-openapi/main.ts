// Makes the extract of GitHub's public OpenAPI description that the tests hold their GitHub server to: of the operations that
// are used the shapes, without their prose. The package is 385 MB, so nobody installs it. By hand, after adding an operation:
//   node --import tsx scripts/github-openapi/main.ts
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGE = "@octokit/openapi";
const VERSION = "23.0.2";
const OPERATIONS = [
  "GET /repos/{owner}/{repo}/pulls",
  "POST /repos/{owner}/{repo}/pulls",
  "GET /repos/{owner}/{repo}/pulls/{pull_number}",
  "PATCH /repos/{owner}/{repo}/pulls/{pull_number}",
  "GET /repos/{owner}/{repo}/pulls/{pull_number}/files",
  "GET /repos/{owner}/{repo}/pulls/{pull_number}/reviews",
  "POST /repos/{owner}/{repo}/pulls/{pull_number}/reviews",
  "POST /repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers",
  "POST /repos/{owner}/{repo}/issues/{issue_number}/labels",
  "GET /repos/{owner}/{repo}/commits/{ref}/check-runs",
  "GET /repos/{owner}/{repo}/commits/{ref}/status",
  "GET /repos/{owner}/{repo}/check-runs/{check_run_id}/annotations",
  "GET /repos/{owner}/{repo}/actions/jobs/{job_id}/logs",
  "GET /repos/{owner}/{repo}/installation",
  "POST /app/installations/{installation_id}/access_tokens",
];
const EXTRACT = fileURLToPath(new URL("../../packages/runyard/src/testing/github-openapi.json", import.meta.url));
/** Words for people. */
const PROSE = new Set(["description", "summary", "title", "example", "examples", "externalDocs", "tags", "deprecated", "default"]);

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

function childOf(value: Json | undefined, key: string): Json | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, Json>)[key] : undefined;
}

/** `isNames`: the keys are names that GitHub gave, and no words of OpenAPI. */
function withoutProse(value: Json, isNames = false): Json {
  if (Array.isArray(value)) return value.map((one: Json) => withoutProse(one));
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([key]) => isNames || !(PROSE.has(key) || key.startsWith("x-")));
  return Object.fromEntries(kept.map(([key, one]) => [key, withoutProse(one, !isNames && key === "properties")]));
}

function refsIn(value: Json): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, one]) => (key === "$ref" && typeof one === "string" ? [one] : refsIn(one)));
}

const dir = mkdtempSync(path.join(tmpdir(), "runyard-openapi-"));
try {
  const npm = ["pack", `${PACKAGE}@${VERSION}`, "--silent", "--pack-destination", dir];
  const archive = execFileSync("npm", npm, { encoding: "utf8" }).trim();
  execFileSync("tar", ["-xzf", path.join(dir, archive), "-C", dir]);
  const fileOf = (name: string): string => readFileSync(path.join(dir, "package", name), "utf8");
  const all = JSON.parse(fileOf("generated/api.github.com.json")) as Json;

  const paths: Record<string, Record<string, Json>> = {};
  const components: Record<string, Record<string, Json>> = {};
  const seen = new Set<string>();
  const take = (value: Json): Json => {
    const shape = withoutProse(value);
    for (const ref of refsIn(shape).filter((one) => !seen.has(one))) {
      seen.add(ref);
      const [, , kind = "", name = ""] = ref.split("/");
      (components[kind] ??= {})[name] = take(need(childOf(childOf(childOf(all, "components"), kind), name), ref));
    }
    return shape;
  };
  for (const operation of OPERATIONS) {
    const [method = "", place = ""] = operation.split(" ");
    const found = need(childOf(childOf(childOf(all, "paths"), place), method.toLowerCase()), operation);
    (paths[place] ??= {})[method.toLowerCase()] = take(found);
  }
  const source = `${PACKAGE} ${VERSION}, generated/api.github.com.json, in extracts`;
  writeFileSync(EXTRACT, `${JSON.stringify({ source, license: fileOf("LICENSE"), paths, components }, null, 2)}\n`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}

function need(value: Json | undefined, what: string): Json {
  if (value === undefined) throw new Error(`${PACKAGE} ${VERSION} has no ${what}`);
  return value;
}

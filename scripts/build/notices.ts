import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { isAllowedLicence } from "../licences/decide.mjs";

interface Bundled {
  readonly name: string;
  readonly version: string;
  /** An SPDX expression. */
  readonly license: string;
  /** The package's own licence and notice files; empty where it has none. */
  readonly text: string;
}

/**
 * The text of THIRD_PARTY_NOTICES: every package that one of these files is from, with its licence.
 * Throws where a package has a licence that is not on the list, or no text of it can be given.
 */
export function noticesFor(files: readonly string[]): string {
  const roots = new Set(files.flatMap((file) => packageRoot(file) ?? []));
  const sections = [...roots].map((root) => section(readPackage(root)));
  const head =
    "In dist/programs and dist/api/swagger-ui are parts of the following packages, each under the licence that stands below its name.\n";
  return [head, ...new Set(sections.sort())].join("\n");
}

function packageRoot(file: string): string | null {
  return /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0] ?? null;
}

function readPackage(root: string): Bundled {
  const manifest = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as Omit<Bundled, "text">;
  const names = readdirSync(root).filter((name) => /^(licen[cs]e|notice|copying)/i.test(name));
  const texts = names.sort().map((name) => readFileSync(path.join(root, name), "utf8").replaceAll("\r\n", "\n").trim());
  return { ...manifest, text: texts.join("\n\n") };
}

function section({ name, version, license, text }: Bundled): string {
  const title = `${name} ${version}, ${license}`;
  if (!isAllowedLicence(license)) throw new Error(`${title} would be shipped, and its licence is not on the list.`);
  if (text === "" && license !== "Apache-2.0") throw new Error(`${title} would be shipped, and no text of its licence is in its package.`);
  return `${title}\n${"-".repeat(title.length)}\n\n${text || "The text of this licence is in the file LICENSE beside this one."}\n`;
}

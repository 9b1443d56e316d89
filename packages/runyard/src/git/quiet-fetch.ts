/** Flags of a fetch that brings objects and the refs that are asked for, and does nothing else. */
export const QUIET_FETCH = [
  "fetch",
  "--quiet",
  "--no-tags",
  "--no-write-fetch-head",
  "--no-auto-maintenance",
  "--no-write-commit-graph",
  "--no-recurse-submodules",
  "--refmap=",
];

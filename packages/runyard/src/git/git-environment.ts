/**
 * The environment of every git command, on the host and inside a sandbox: nothing of the machine's or the
 * user's configuration, no questions, no network, no program that a repository's configuration names.
 * `GIT_CONFIG_GLOBAL` and `HOME` come on top and differ by place.
 */
export const GIT_ENVIRONMENT: Readonly<Record<string, string>> = {
  LC_ALL: "C",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_ATTR_NOSYSTEM: "1",
  GIT_TERMINAL_PROMPT: "0",
  GIT_ALLOW_PROTOCOL: "file",
  GIT_NO_LAZY_FETCH: "1",
  GIT_NO_REPLACE_OBJECTS: "1",
  GIT_OPTIONAL_LOCKS: "0",
  GIT_PAGER: "cat",
  GIT_EDITOR: "false",
  GIT_ASKPASS: "false",
};

/** Who Runyard's own commits are by. `.invalid` is a domain that can never be anybody's. */
export const BOT_NAME = "Runyard";
export const BOT_EMAIL = "bot@runyard.invalid";

export const BOT_IDENTITY: Readonly<Record<string, string>> = {
  GIT_AUTHOR_NAME: BOT_NAME,
  GIT_AUTHOR_EMAIL: BOT_EMAIL,
  GIT_COMMITTER_NAME: BOT_NAME,
  GIT_COMMITTER_EMAIL: BOT_EMAIL,
};

/** Variables that would point git at another repository than the one that is meant. */
const MISLEADING = [
  "GIT_DIR",
  "GIT_WORK_TREE",
  "GIT_INDEX_FILE",
  "GIT_OBJECT_DIRECTORY",
  "GIT_ALTERNATE_OBJECT_DIRECTORIES",
  "GIT_NAMESPACE",
  "GIT_CONFIG",
  "GIT_CONFIG_COUNT",
  "GIT_CONFIG_PARAMETERS",
  "GIT_TEMPLATE_DIR",
  "GIT_SHALLOW_FILE",
];

/** Lines of POSIX shell that give a script this environment, whatever it was started with. */
export function environmentLines(more: Readonly<Record<string, string>> = {}): string {
  const words = Object.entries({ ...GIT_ENVIRONMENT, ...more }).map(([name, value]) => `${name}='${value}'`);
  return `unset ${MISLEADING.join(" ")}\nexport ${words.join(" ")}`;
}

/**
 * The end of a script: calls its function `work` with the script's arguments, says on stderr what that said
 * where it failed, and ends with its status. It is said once `work` has cleared away what it had made: on a
 * full disk, which stderr may lie on, there is room for it only then.
 */
export const SAY_AT_THE_END = `said=$(work "$@" 2>&1 >/dev/null)
code=$?
[ $code = 0 ] || printf '%s\\n' "$said" >&2
exit $code
`;

import { chmodSync, copyFileSync, mkdirSync, renameSync, symlinkSync } from "node:fs";
import path from "node:path";
import { plainGit, plainShell, writeFiles } from "./lab.ts";

/** Something in a tree that makes plain git run a program, and plain git that does. */
export interface Plant {
  readonly name: string;
  /** Plants it; `program` makes the marker of that name and then does nothing. */
  plant(tree: string, program: (marker: string) => string): void;
  /** Plain git on the tree, as somebody careless would use it on the host; may fail. */
  careless(tree: string): void;
  /** The markers that it must have made; default: its name. */
  readonly markers?: readonly string[];
}

/** Plain git through a shell, whose failures do not matter. */
function shell(script: string): (tree: string) => void {
  return (tree) => {
    plainShell(tree, `{ ${script}; } >/dev/null 2>&1 </dev/null || :`);
  };
}

function configure(settings: (program: (marker: string) => string) => Record<string, string>): Plant["plant"] {
  return (tree, program) => {
    for (const [key, value] of Object.entries(settings(program))) plainGit(tree, "config", "--add", key, value);
  };
}

function writePrograms(tree: string, dir: string, programs: Readonly<Record<string, string>>): void {
  for (const [name, program] of Object.entries(programs)) {
    writeFiles(tree, { [`${dir}/${name}`]: `#!/bin/sh\n${program}\n` });
    chmodSync(path.join(tree, dir, name), 0o755);
  }
}

const COMMIT_HOOKS = ["pre-commit", "prepare-commit-msg", "commit-msg", "post-commit", "reference-transaction", "post-index-change"];
/** Signing and the process filter would fail and keep git from going on to the hooks. */
const GIT = "git -c commit.gpgSign=false -c filter.process.process=";
const RUN_HOOKS = `${GIT} commit --allow-empty -m careless; echo x >fresh; ${GIT} add fresh`;

/** Files that the plants below need in the commit that a run starts from. */
export const PLANTED_FILES: Readonly<Record<string, string>> = {
  ".gitattributes":
    "*.clean filter=clean\n*.smudge filter=smudge\n*.process filter=process\n*.external -diff\n*.command diff=command\n*.textconv diff=textconv\n*.included filter=included\n*.merge merge=planted\n",
  "a.clean": "a\n",
  "a.smudge": "a\n",
  "a.process": "a\n",
  "a.command": "a\n",
  "a.textconv": "a\n",
  "a.included": "a\n",
  "a.merge": "a\n",
  "a.txt": "a\n",
};

/** Plants that live side by side in one tree, each with a marker of its own. */
export const PLANTS: readonly Plant[] = [
  { name: "fsmonitor", plant: configure((run) => ({ "core.fsmonitor": `${run("fsmonitor")}; false` })), careless: shell("git status") },
  {
    name: "hooks",
    plant: (tree, run) =>
      writePrograms(tree, ".git/hooks", Object.fromEntries([...COMMIT_HOOKS, "post-checkout"].map((hook) => [hook, run(`hook-${hook}`)]))),
    careless: shell(`${RUN_HOOKS}; ${GIT} checkout -b careless`),
    markers: [...COMMIT_HOOKS, "post-checkout"].map((hook) => `hook-${hook}`),
  },
  {
    name: "clean",
    plant: configure((run) => ({ "filter.clean.clean": `${run("clean")}; cat` })),
    careless: shell("echo b >a.clean; git add a.clean"),
  },
  {
    name: "smudge",
    plant: configure((run) => ({
      "filter.smudge.smudge": `${run("smudge")}; cat`,
      "filter.smudge.clean": "cat",
      "filter.smudge.required": "true",
    })),
    careless: shell(`rm a.smudge; ${GIT} checkout -- a.smudge`),
  },
  {
    name: "process",
    plant: configure((run) => ({ "filter.process.process": run("process") })),
    careless: shell("echo b >a.process; git add a.process"),
  },
  { name: "external", plant: configure((run) => ({ "diff.external": run("external") })), careless: shell(`echo b >a.txt; ${GIT} diff`) },
  {
    name: "command",
    plant: configure((run) => ({ "diff.command.command": run("command") })),
    careless: shell(`echo b >a.command; ${GIT} -c diff.external= diff`),
  },
  {
    name: "textconv",
    plant: configure((run) => ({ "diff.textconv.textconv": `${run("textconv")}; cat` })),
    careless: shell(`echo b >a.textconv; ${GIT} diff --no-ext-diff`),
  },
  {
    name: "gpg",
    plant: (tree, run) => {
      writePrograms(tree, ".git", { "planted-gpg": run("gpg") });
      for (const key of ["commit.gpgSign", "tag.gpgSign"]) plainGit(tree, "config", key, "true");
      plainGit(tree, "config", "gpg.program", path.join(tree, ".git/planted-gpg")); // a path, not a command line
    },
    careless: shell("git -c filter.process.process= commit --allow-empty -m careless"),
  },
  {
    name: "include",
    plant: (tree, run) => {
      writeFiles(tree, { ".git/extra": `[filter "included"]\n\tclean = "${run("include")}; cat"\n` });
      plainGit(tree, "config", "include.path", "extra");
    },
    careless: shell("echo b >a.included; git add a.included"),
  },
  {
    name: "ssh",
    plant: configure((run) => ({ "core.sshCommand": `${run("ssh")}; false` })),
    careless: shell("git fetch ssh://host.invalid/x"),
  },
  {
    name: "credential",
    plant: configure((run) => ({ "credential.helper": `!${run("credential")}; true` })),
    careless: shell("printf 'protocol=https\\nhost=host.invalid\\n\\n' | GIT_TERMINAL_PROMPT=0 git credential fill"),
  },
  { name: "alias", plant: configure((run) => ({ "alias.careless": `!${run("alias")}` })), careless: shell("git careless") },
  {
    name: "pager",
    plant: configure((run) => ({ "core.pager": `${run("pager")}; cat` })),
    careless: shell("script -qec 'git log' /dev/null"),
  },
  {
    name: "editor",
    plant: configure((run) => ({ "core.editor": `${run("editor")}; false`, "sequence.editor": `${run("editor")}; false` })),
    careless: shell(`${GIT} commit --allow-empty`),
  },
  {
    name: "uploadpack",
    plant: configure((run) => ({ "remote.origin.url": ".", "remote.origin.uploadpack": `${run("uploadpack")}; git-upload-pack` })),
    careless: shell("git fetch origin"),
  },
  {
    name: "ext",
    plant: configure((run) => ({ "protocol.ext.allow": "always", "remote.outside.url": `ext::sh -c ${run("ext").replaceAll(" ", "% ")}` })),
    careless: shell("git fetch outside"),
  },
  {
    name: "alternates",
    plant: configure((run) => ({ "core.alternateRefsCommand": `${run("alternates")}; true` })),
    careless: shell("git fetch . HEAD"),
  },
  {
    name: "merge",
    plant: configure((run) => ({ "merge.planted.driver": `${run("merge")}; false` })),
    careless: shell(
      `${GIT} checkout -f -b left; echo l >a.merge; ${GIT} commit -am l; ${GIT} checkout -f -b right HEAD~1; echo r >a.merge; ${GIT} commit -am r; ${GIT} merge left`,
    ),
  },
  {
    name: "nested",
    plant: (tree, run) => {
      const nested = path.join(tree, "nested");
      mkdirSync(nested);
      plainShell(nested, "git init --quiet && echo n >n && git add n && git commit --quiet -m nested");
      plainGit(nested, "config", "core.fsmonitor", `${run("nested")}; false`);
    },
    careless: shell(`${GIT} add nested; echo m >nested/n; ${GIT} status; ${GIT} diff`),
  },
];

/** Plants that take a tree's git directory for themselves. */
export const REDIRECTS: readonly Plant[] = [
  {
    name: "hooks-path",
    plant: (tree, run) => {
      writePrograms(tree, "planted", Object.fromEntries(COMMIT_HOOKS.map((hook) => [hook, run(`path-${hook}`)])));
      plainGit(tree, "config", "core.hooksPath", "planted");
    },
    careless: shell(RUN_HOOKS),
    markers: COMMIT_HOOKS.map((hook) => `path-${hook}`),
  },
  {
    name: "git-file",
    plant: (tree, run) => {
      renameSync(path.join(tree, ".git"), path.join(tree, "real"));
      writeFiles(tree, { ".git": "gitdir: real\n" });
      plainGit(tree, "config", "core.fsmonitor", `${run("git-file")}; false`);
    },
    careless: shell("git status"),
  },
  {
    name: "git-link",
    plant: (tree, run) => {
      renameSync(path.join(tree, ".git"), path.join(tree, "real"));
      symlinkSync("real", path.join(tree, ".git"));
      plainGit(tree, "config", "core.fsmonitor", `${run("git-link")}; false`);
    },
    careless: shell("git status"),
  },
  {
    name: "common-dir",
    plant: (tree, run) => {
      const [real, worktree] = [path.join(tree, "real"), path.join(tree, ".git")];
      renameSync(worktree, real);
      mkdirSync(worktree);
      for (const file of ["HEAD", "index"]) copyFileSync(path.join(real, file), path.join(worktree, file));
      writeFiles(worktree, { commondir: "../real\n" });
      plainGit(tree, "config", "core.fsmonitor", `${run("common-dir")}; false`);
    },
    careless: shell("git status"),
  },
  {
    name: "worktree-config",
    plant: (tree, run) => {
      plainGit(tree, "config", "core.repositoryFormatVersion", "1");
      plainGit(tree, "config", "extensions.worktreeConfig", "true");
      plainGit(tree, "config", "--worktree", "core.fsmonitor", `${run("worktree-config")}; false`);
    },
    careless: shell("git status"),
  },
  {
    name: "include-if",
    plant: (tree, run) => {
      writeFiles(tree, { ".git/on-branch": `[core]\n\tfsmonitor = "${run("include-if")}; false"\n` });
      plainGit(tree, "config", "includeIf.onbranch:**.path", "on-branch");
    },
    careless: shell("git status"),
  },
  {
    name: "instead-of",
    plant: configure((run) => ({
      "protocol.ext.allow": "always",
      [`url.ext::sh -c ${run("instead-of").replaceAll(" ", "% ")} .insteadOf`]: "ssh://planted.invalid/",
    })),
    careless: shell("git fetch ssh://planted.invalid/x"),
  },
  {
    name: "bare-inside",
    plant: (tree, run) => {
      const bare = path.join(tree, "bare");
      plainShell(tree, "git clone --quiet --bare .git bare");
      for (const [key, value] of [
        ["core.bare", "false"],
        ["core.worktree", ".."],
        ["core.fsmonitor", `${run("bare-inside")}; false`],
      ])
        plainGit(bare, "config", "--file", "config", key ?? "", value ?? "");
    },
    careless: shell("cd bare && git status"),
  },
  {
    name: "submodule-update",
    plant: (tree, run) => {
      const sub = path.join(tree, "sub");
      mkdirSync(sub);
      plainShell(sub, "git init --quiet && git commit --quiet --allow-empty -m one && git commit --quiet --allow-empty -m two");
      writeFiles(tree, { ".gitmodules": '[submodule "sub"]\n\tpath = sub\n\turl = ./sub\n' });
      plainShell(tree, 'git update-index --add --cacheinfo "160000,$(git -C sub rev-parse HEAD~1),sub"');
      for (const [key, value] of [
        ["url", "./sub"],
        ["active", "true"],
        ["update", `!${run("submodule-update")}; :`],
      ])
        plainGit(tree, "config", `submodule.sub.${key}`, value ?? "");
    },
    careless: shell("git submodule update"),
  },
  {
    name: "rebase",
    plant: (tree, run) => {
      plainShell(tree, "git commit --quiet --allow-empty -m more");
      writeFiles(tree, {
        ".git/rebase-merge/git-rebase-todo": `exec ${run("rebase")}\n`,
        ".git/rebase-merge/done": "",
        ".git/rebase-merge/interactive": "",
        ".git/rebase-merge/head-name": "refs/heads/planted\n",
        ".git/rebase-merge/onto": plainGit(tree, "rev-parse", "HEAD~1"),
        ".git/rebase-merge/orig-head": plainGit(tree, "rev-parse", "HEAD"),
        ".git/rebase-merge/msgnum": "0\n",
        ".git/rebase-merge/end": "1\n",
      });
    },
    careless: shell("git stash -u; git rebase --continue"),
  },
  {
    name: "diff-merge-tools",
    plant: configure((run) => ({ "difftool.planted.cmd": run("diff-tool"), "diff.tool": "planted", "difftool.prompt": "false" })),
    careless: shell("echo b >a.txt; git difftool --no-prompt -- a.txt"),
    markers: ["diff-tool"],
  },
];

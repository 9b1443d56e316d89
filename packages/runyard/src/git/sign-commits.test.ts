import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseSigningKey, type SigningKey } from "../store/signing-key.ts";
import { signCommits } from "./sign-commits.ts";
import { type GitLab, openGitLab, plainGit, plainGitMayFail, plainShell, writeFiles } from "./testing/lab.ts";

const isThere = spawnSync("ssh-keygen", ["-?"]).error === undefined;

let lab: GitLab;
let key: SigningKey;
let signers: string;
beforeAll(async () => {
  lab = await openGitLab();
  if (!isThere) return;
  const file = lab.newPath("key");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-f", file, "-N", ""]);
  key = parseSigningKey(readFileSync(file, "utf8"));
  signers = lab.newPath("signers");
  writeFileSync(signers, `bot@x ${key.publicKey}\n`);
});
afterAll(() => lab?.close());

const commitOf = (repository: string, name: string): string => plainGit(repository, "rev-parse", name).trim();

/** What git says of a commit's signature. */
const verified = (repository: string, commit: string) =>
  plainGitMayFail(repository, "-c", `gpg.ssh.allowedSignersFile=${signers}`, "verify-commit", commit);

/** A repository with a merge, a message that is not UTF-8 and one with a signature that was made up, behind its base. */
function history(): { repository: string; base: string; head: string } {
  const repository = lab.newRepository({ "a.txt": "a\n" });
  const base = commitOf(repository, "HEAD");
  plainGit(repository, "checkout", "--quiet", "-b", "side");
  writeFiles(repository, { "b.txt": "b\n" });
  plainGit(repository, "add", "--all");
  plainShell(repository, "printf 'caf\\351\\n\\n  indented\\n' | git -c i18n.commitEncoding=ISO-8859-1 commit --quiet -F -");
  plainGit(repository, "checkout", "--quiet", "main");
  plainGit(repository, "commit", "--quiet", "--allow-empty", "--message", "On main");
  plainGit(repository, "merge", "--quiet", "--no-edit", "side");
  const raw = plainGit(repository, "cat-file", "commit", "HEAD").replace(
    "\n\n",
    "\ngpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n\n",
  );
  const file = lab.newPath("commit");
  writeFileSync(file, raw);
  plainGit(repository, "reset", "--quiet", "--hard", plainGit(repository, "hash-object", "-t", "commit", "-w", file).trim());
  return { repository, base, head: commitOf(repository, "HEAD") };
}

test.skipIf(!isThere)("every commit behind the base is signed, and nothing else of it is changed (needs ssh-keygen)", async () => {
  const { repository, base, head } = history();
  expect(verified(repository, head).status).not.toBe(0);
  const options = { cachePath: path.join(repository, ".git"), runId: "run_1", base, head, sign: (content: Buffer) => key.sign(content) };
  const signed = await signCommits(lab.host, options);
  expect(signed).not.toBe(head);
  expect(commitOf(repository, "refs/runyard/result/run_1")).toBe(signed);
  const commits = plainGit(repository, "rev-list", `${base}..${signed}`).trim().split("\n");
  expect(commits).toHaveLength(3);
  for (const commit of commits) expect(verified(repository, commit).stderr).toContain('Good "git" signature for bot@x');
  expect(plainGit(repository, "fsck", "--strict", "--no-dangling", signed)).toBe("");
  // The same trees, people, times and messages, byte for byte, in the same shape.
  const told = (tip: string): string =>
    plainShell(
      repository,
      'git log --topo-order --reverse --encoding=none --format="%T %an %ae %at %cn %ce %ct %e %B" "$1..$2" | od -c',
      base,
      tip,
    );
  expect(told(signed)).toBe(told(head));
  expect(plainGit(repository, "rev-list", "--parents", "-1", signed).trim().split(" ")).toHaveLength(3);
  // Once more it is the same, as after a crash; and nothing of it is left.
  expect(await signCommits(lab.host, options)).toBe(signed);
  expect(readdirSync(lab.host.stepsDir)).toEqual(["git-home"]);
  // The control: with another key, git does not believe it.
  writeFileSync(signers, `bot@x ssh-ed25519 ${key.publicKey.split(" ")[1]?.replace(/.{4}$/, "AAAA")}\n`);
  expect(verified(repository, signed).status).not.toBe(0);
  writeFileSync(signers, `bot@x ${key.publicKey}\n`);
});

test.skipIf(!isThere)("so it is with names of 64 digits (needs ssh-keygen)", async () => {
  const repository = lab.newPath("sha256");
  plainGit(lab.root, "init", "--quiet", "--initial-branch=main", "--object-format=sha256", repository);
  for (const message of ["First", "Second"]) plainGit(repository, "commit", "--quiet", "--allow-empty", "--message", message);
  const [base, head] = [commitOf(repository, "HEAD~1"), commitOf(repository, "HEAD")];
  const options = { cachePath: path.join(repository, ".git"), runId: "run_2", base, head, sign: (content: Buffer) => key.sign(content) };
  expect(verified(repository, await signCommits(lab.host, options)).stderr).toContain('Good "git" signature for bot@x');
});

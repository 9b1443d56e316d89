// What servers of git say, as it is known of them, and what is made of it.
import { expect, test } from "vitest";
import { mayPass, RemoteGitError, remoteNotUsable, remoteOutcome, type RemoteOutcome } from "./remote-error.ts";

const HREF = "https://git.example/acme/app.git";
const FATAL = `fatal: unable to access '${HREF}/': The requested URL returned error:`;
const UNREAD = "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\n";

const SAID: readonly (readonly [outcome: RemoteOutcome, stderr: string, shown: string])[] = [
  ["authentication-failed", `remote: Invalid username or password.\nfatal: Authentication failed for '${HREF}/'`, "refused the credential"],
  ["authentication-failed", "git@git.example: Permission denied (publickey).\n" + UNREAD, "refused the credential"],
  [
    "authentication-failed",
    `fatal: could not read Username for 'https://git.example': terminal prompts disabled`,
    "refused the credential",
  ],
  ["not-permitted", `remote: Permission to acme/app.git denied to bot.\n${FATAL} 403`, "Permission to acme/app.git denied to bot."],
  ["not-permitted", `remote: You are not allowed to push code to this project.\n${FATAL} 403`, "You are not allowed to push"],
  ["not-permitted", "ERROR: Permission to acme/app.git denied to deploy key\n" + UNREAD, "denied to deploy key"],
  [
    "declined",
    "remote: error: GH006: Protected branch update failed for refs/heads/x.\n! [remote rejected] a -> x (protected branch hook declined)",
    "GH006: Protected branch update failed",
  ],
  [
    "declined",
    "remote: A protected branch.\n ! [remote rejected] a -> x (pre-receive hook declined)\nerror: failed to push",
    "A protected branch.",
  ],
  ["archived", `remote: This repository was archived so it is read-only.\n${FATAL} 403`, "take it out of the archive"],
  ["archived", "ERROR: This repository was archived so it is read-only.\n" + UNREAD, "take it out of the archive"],
  ["non-fast-forward", " ! [rejected] a -> x (stale info)\nerror: failed to push some refs", "somebody else moved the branch"],
  ["non-fast-forward", " ! [rejected] a -> x (non-fast-forward)", "somebody else moved the branch"],
  ["not-found", `remote: Repository not found.\nfatal: repository '${HREF}/' not found`, "knows no such repository"],
  ["not-found", "ERROR: Repository not found.\n" + UNREAD, "knows no such repository"],
  ["host-key", "Host key verification failed.\n" + UNREAD, "does not show the key"],
  ["certificate", `fatal: unable to access '${HREF}/': server certificate verification failed. CAfile: none CRLfile: none`, "not trusted"],
  ["too-large", "error: RPC failed; HTTP 413 curl 22 The requested URL returned error: 413\nsend-pack: unexpected disconnect", "too large"],
  ["timeout", "fatal: unable to access: Operation too slow. Less than 1000 bytes/sec transferred the last 60 seconds", "too long"],
  ["timeout", "it took longer than 30 s", "too long"],
  ["network", "fatal: the remote end hung up unexpectedly\nfatal: early EOF", "could not be reached, or broke off"],
  ["network", `${FATAL} 503`, "could not be reached, or broke off"],
  ["unknown", "fatal: something new\u001b[31m of git", "something new?[31m of git"],
  ["unknown", "", "git ended with code 128"],
];

test.each(SAID)("%s: %j", (outcome, stderr, shown) => {
  const error = new RemoteGitError(["push"], { code: 128, stderr, trouble: null, href: HREF, hasCredential: true });
  expect(error.outcome).toBe(outcome);
  const told = remoteNotUsable(error, "It");
  expect(told.message).toContain(shown);
  expect(remoteOutcome(told)).toBe(outcome);
  expect(mayPass(outcome)).toBe(outcome === "network" || outcome === "timeout");
});

test.each([
  ["declined", "[remote rejected] (pre-receive hook declined)"],
  ["non-fast-forward", "[rejected] (stale info)"],
  ["non-fast-forward", "[remote rejected] (failed to update ref)"],
] as const)("what a hook prints decides nothing where git has its answer: %s", (outcome, answer) => {
  const lies = ["non-fast-forward (fetch first)", "returned error: 401", "Repository not found", "This repository was archived"];
  const stderr = [...lies, "Permission to ".repeat(200_000)].map((line) => `remote: ${line}`).join("\n");
  const stdout = `To ${HREF}\n!\t${"a".repeat(40)}:refs/heads/x\t${answer}\nDone\n`;
  const error = new RemoteGitError(["push"], { code: 1, stderr, stdout, trouble: null, href: HREF, hasCredential: true });
  expect(error.outcome).toBe(outcome);
  expect(error.reason.length).toBeLessThan(500);
});

test("a hook without a word is told of by git's own, and prefixes are left out", () => {
  const stdout = `To ${HREF}\n!\t${"a".repeat(40)}:refs/heads/x\t[remote rejected] (hook declined)\nDone\n`;
  const failed = { code: 1, stdout, trouble: null, href: HREF, hasCredential: true };
  const silent = new RemoteGitError(["push"], { ...failed, stderr: "error: failed to push some refs" });
  expect(silent.reason).toBe("its server declined the branch ([remote rejected] (hook declined))");
  const words = new RemoteGitError(["push"], { ...failed, stderr: "remote: error: GH006: Protected branch\nremote: error: No\n" });
  expect(words.reason).toBe("its server declined the branch (GH006: Protected branch No)");
});

test("what the proxy saw counts before what git said, and other errors are none of it", () => {
  const trouble = { kind: "too-large", detail: "more than 5 bytes" } as const;
  const error = new RemoteGitError(["fetch"], { code: 128, stderr: "fatal: early EOF", trouble, href: HREF, hasCredential: false });
  expect(error).toMatchObject({ outcome: "too-large", reason: "its server sent more than 5 bytes" });
  for (const other of [new Error("x"), null, "network"]) expect(remoteOutcome(other)).toBeNull();
});

/** Calls that need no rights, in Perl, and how they are refused; what does need rights is refused in a sandbox anyway. */
const CALLS: readonly (readonly [name: string, call: string, refusal: string])[] = [
  ["a keyring", "250, 0, -3, 0", "EPERM"],
  ["a key", "248, my $type = 'user', my $name = 'runyard-test', my $key = 'x', 1, -2", "EPERM"],
  ["userfaultfd", "323, 1", "EPERM"],
  ["clone3 without arguments", "435, 0, 0", "ENOSYS"],
  ["io_uring without arguments", "425, 0, 0", "ENOSYS"],
  ["a socket to the host of a virtual machine", "41, 40, 1, 0", "EAFNOSUPPORT"],
  ["a socket for ciphers", "41, 38, 5, 0", "EAFNOSUPPORT"],
  ["a socket to the packet filter", "41, 16, 3, 12", "EAFNOSUPPORT"],
];

/** A command that makes these calls, on x86-64, and tells what the kernel has answered. */
export const ASK_ALL: readonly string[] = [
  "perl",
  "-MErrno",
  "-e",
  CALLS.map(
    ([name, call]) =>
      `$! = 0; $r = syscall(${call}); print "${name}: ", ($r >= 0 ? "done" : $!{EPERM} ? "EPERM" : $!{ENOSYS} ? "ENOSYS" : $!{EAFNOSUPPORT} ? "EAFNOSUPPORT" : "other"), "\\n";`,
  ).join("\n"),
];

/** What it tells in a sandbox. */
export const REFUSALS: ReadonlyMap<string, string> = new Map(CALLS.map(([name, , refusal]) => [name, refusal]));

/** What it has told, by the names of the calls. */
export function readAnswers(text: string): Map<string, string> {
  const lines = text.trim().split("\n");
  return new Map(lines.map((line) => line.split(": ") as [string, string]));
}

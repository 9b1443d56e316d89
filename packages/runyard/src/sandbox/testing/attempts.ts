import type { SandboxSpec } from "../driver.ts";
import type { Targets } from "./abuse-targets.ts";

/** Something that an agent must not be able to do, in POSIX shell. Where nothing holds it, it prints the loot. */
export interface Attempt {
  readonly name: string;
  readonly script: string;
  /** `$1` and so on. */
  readonly words?: readonly string[];
  readonly loot: string;
  readonly changes?: Partial<SandboxSpec>;
  /** Without isolation only root can do it: the server may be root, and lends its sandboxes that user. */
  readonly asRoot?: boolean;
}

/** One word of a shell that runs Perl, whose calls of the kernel need no library. */
const perl = (program: string): string => `perl -MErrno -e '${program}' -- "$@"`;

/** Attempts on decoys that the test has made, and on things that are as they were afterwards. */
export function attemptsOn(targets: Targets): Attempt[] {
  const { secret, secretFile, cacheDir, decoyPid, sharedMemory } = targets;
  const cache = { words: [cacheDir], changes: { mounts: [{ source: cacheDir, target: cacheDir, mode: "ro" as const }] } };
  return [
    { name: "reads the administrator's token of a home", script: 'cat "$1"', words: [targets.tokenFile], loot: secret },
    { name: "reads a file of another user", script: 'cat "$1"', words: [targets.othersFile], loot: secret, asRoot: true },
    { name: "reads a file through a link in its workspace", script: 'ln -s "$1" link && cat link', words: [secretFile], loot: secret },
    { name: "gives a file of the host a second name", script: 'ln "$1" mine && cat mine', words: [secretFile], loot: secret },
    { name: "reads the home of another run", script: 'cat "$1/.config/login"', words: [targets.otherHome], loot: secret },
    {
      name: "adds an object to the cache of git",
      script: 'echo poisoned >"$1/objects/aa" && cat "$1/objects/aa"',
      ...cache,
      loot: "poisoned",
    },
    { name: "moves a branch of the cache", script: 'echo poisoned >"$1/HEAD" && cat "$1/HEAD"', ...cache, loot: "poisoned" },
    {
      name: "gives the cache a hook",
      script: 'mkdir "$1/hooks" && echo poisoned >"$1/hooks/update" && chmod +x "$1/hooks/update" && cat "$1/hooks/update"',
      ...cache,
      loot: "poisoned",
    },
    {
      name: "takes the protection off the cache, and changes it then",
      script:
        '{ chmod -R 777 "$1"; mount -o remount,rw,bind "$1"; umount "$1"; mv "$1/config" "$1/config.old"; } 2>/dev/null; echo poisoned >>"$1/config" && cat "$1/config"',
      ...cache,
      loot: "poisoned",
    },
    {
      name: "changes the programs that all runs use",
      script:
        'dir=$(dirname "$(readlink -f "$(command -v node)")"); (: >"$dir/.runyard-abuse") && rm "$dir/.runyard-abuse" && echo changed',
      loot: "changed",
      asRoot: true,
    },
    { name: "signals a process of the host", script: 'kill -0 "$1" && echo signalled', words: [String(decoyPid)], loot: "signalled" },
    {
      name: "takes hold of a process of the host, as a debugger",
      // PTRACE_SEIZE, which does not stop it.
      script: perl("print syscall(101, 0x4206, $ARGV[0] + 0, 0, 0) == 0 ? qq(seized\\n) : $!"),
      words: [String(decoyPid)],
      loot: "seized",
      asRoot: true,
    },
    {
      name: "reads memory that processes of the host share",
      script: perl("my $got; shmread($ARGV[0] + 0, $got, 0, 64) and print $got"),
      words: [String(sharedMemory)],
      loot: secret,
    },
    {
      name: "types into a terminal",
      script: `script -qec 'perl -e "my \\$key = qq(x); ioctl(STDIN, 0x5412, \\$key) and print qq(typed\\n)"' /dev/null </dev/null`,
      loot: "typed",
      asRoot: true,
    },
    { name: "makes a device", script: "mknod device c 1 3 && echo made && rm device", loot: "made", asRoot: true },
    {
      name: "opens devices and memory of the machine",
      script:
        "for file in /dev/kmsg /dev/mem /dev/port /proc/kcore /dev/loop-control /dev/fuse /dev/net/tun; do (: <$file) 2>/dev/null && echo opened; done",
      loot: "opened",
      asRoot: true,
    },
    { name: "sends packets of its own making", script: perl("socket(my $raw, 2, 3, 1) and print qq(raw\\n)"), loot: "raw", asRoot: true },
    {
      name: "asks how to set the clock",
      script: perl("my $time = qq(\\0) x 512; print qq(asked\\n) if syscall(305, 0, $time) >= 0"),
      loot: "asked",
    },
  ];
}

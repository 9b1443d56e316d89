import { constants } from "node:os";

/**
 * The filter of system calls of a sandbox, as the kernel takes it (classic BPF, see seccomp(2)): what an agent's
 * programs have no use for and kernels had their holes in. A list of what is refused and not of what is allowed, so
 * that compilers, debuggers and runtimes work that nobody thought of; what a name stands for is refused by the kernel,
 * whoever asks.
 */

/** Numbers of a call, by the processor; null where it does not have the call. */
type Numbers = Readonly<Record<"x64" | "arm64", number | null>>;

/** Refused as not permitted: of use only to who administrates the machine. */
export const ADMINISTRATION: Readonly<Record<string, Numbers>> = {
  _sysctl: { x64: 156, arm64: null },
  acct: { x64: 163, arm64: 89 },
  add_key: { x64: 248, arm64: 217 },
  bpf: { x64: 321, arm64: 280 },
  chroot: { x64: 161, arm64: 51 },
  clock_adjtime: { x64: 305, arm64: 266 },
  clock_settime: { x64: 227, arm64: 112 },
  delete_module: { x64: 176, arm64: 106 },
  finit_module: { x64: 313, arm64: 273 },
  fsconfig: { x64: 431, arm64: 431 },
  fsmount: { x64: 432, arm64: 432 },
  fsopen: { x64: 430, arm64: 430 },
  fspick: { x64: 433, arm64: 433 },
  init_module: { x64: 175, arm64: 105 },
  ioperm: { x64: 173, arm64: null },
  iopl: { x64: 172, arm64: null },
  kexec_file_load: { x64: 320, arm64: 294 },
  kexec_load: { x64: 246, arm64: 104 },
  keyctl: { x64: 250, arm64: 219 },
  lookup_dcookie: { x64: 212, arm64: 18 },
  modify_ldt: { x64: 154, arm64: null },
  mount: { x64: 165, arm64: 40 },
  mount_setattr: { x64: 442, arm64: 442 },
  move_mount: { x64: 429, arm64: 429 },
  nfsservctl: { x64: 180, arm64: 42 },
  open_by_handle_at: { x64: 304, arm64: 265 },
  open_tree: { x64: 428, arm64: 428 },
  perf_event_open: { x64: 298, arm64: 241 },
  pivot_root: { x64: 155, arm64: 41 },
  quotactl: { x64: 179, arm64: 60 },
  quotactl_fd: { x64: 443, arm64: 443 },
  reboot: { x64: 169, arm64: 142 },
  request_key: { x64: 249, arm64: 218 },
  setdomainname: { x64: 171, arm64: 162 },
  sethostname: { x64: 170, arm64: 161 },
  setns: { x64: 308, arm64: 268 },
  settimeofday: { x64: 164, arm64: 170 },
  swapoff: { x64: 168, arm64: 225 },
  swapon: { x64: 167, arm64: 224 },
  syslog: { x64: 103, arm64: 116 },
  umount2: { x64: 166, arm64: 39 },
  uselib: { x64: 134, arm64: null },
  userfaultfd: { x64: 323, arm64: 282 },
  vhangup: { x64: 153, arm64: 58 },
};

/** Refused as if the kernel did not have them: who asks takes another way. The arguments of clone3 cannot be looked into. */
export const UNKNOWN: Readonly<Record<string, Numbers>> = {
  clone3: { x64: 435, arm64: 435 },
  io_uring_setup: { x64: 425, arm64: 425 },
  io_uring_enter: { x64: 426, arm64: 426 },
  io_uring_register: { x64: 427, arm64: 427 },
};

/** Looked into. */
const CLONE: Numbers = { x64: 56, arm64: 220 };
const UNSHARE: Numbers = { x64: 272, arm64: 97 };
const SOCKET: Numbers = { x64: 41, arm64: 198 };
const IOCTL: Numbers = { x64: 16, arm64: 29 };

/** Flags that make a namespace: CLONE_NEWNS, -CGROUP, -UTS, -IPC, -USER, -PID, -NET; -TIME is one of unshare only. */
export const NEW_NAMESPACES = 0x7e020000;
export const NEW_TIME = 0x80;
export const AF = { unix: 1, inet: 2, inet6: 10, netlink: 16 };
/** Requests that put words into the input of a terminal: TIOCSTI, TIOCLINUX. */
export const TYPING = [0x5412, 0x541c];

/** AUDIT_ARCH_…, which says by what table a number is meant. */
const ARCHITECTURE = { x64: 0xc000003e, arm64: 0xc00000b7 };
/** Numbers from here on are those of x32. */
const X32 = 0x40000000;

/** Offsets in `struct seccomp_data`; of an argument the lower half, which is all that the kernel looks at in these. */
const NUMBER_AT = 0;
const ARCHITECTURE_AT = 4;
const argumentAt = (n: number): number => 16 + 8 * n;

/** Operations of classic BPF. */
const LOAD = 0x20;
const IF_EQUAL = 0x15;
const IF_AT_LEAST = 0x35;
const IF_ANY_BIT = 0x45;
const RETURN = 0x06;

const ALLOW = 0x7fff0000;
const refuse = (errno: number): number => 0x00050000 | errno;
const { EPERM, ENOSYS, EAFNOSUPPORT } = constants.errno;

/** One instruction: operation, how many to leave out where its question is answered with yes and with no, operand. */
type Instruction = readonly [code: number, yes: number, no: number, operand: number];

const load = (offset: number): Instruction => [LOAD, 0, 0, offset];
const answer = (action: number): Instruction => [RETURN, 0, 0, action];
/** Goes on with `then` if so, and behind it if not. */
const when = (code: number, operand: number, then: readonly Instruction[]): Instruction[] => [[code, 0, then.length, operand], ...then];
/** For a call: `then`, which has to end in an answer. None where the processor does not have the call. */
const onCall = (number: number | null, then: readonly Instruction[]): Instruction[] =>
  number === null ? [] : when(IF_EQUAL, number, then);

/** The filter for a kind of processor, or null where there is none for it. */
export function syscallFilter(processor: string): Buffer | null {
  if (processor !== "x64" && processor !== "arm64") return null;
  const all = (calls: Readonly<Record<string, Numbers>>, errno: number): Instruction[] =>
    Object.values(calls).flatMap((numbers) => onCall(numbers[processor], [answer(refuse(errno))]));
  const noNamespaces = (flags: number): Instruction[] => [
    load(argumentAt(0)),
    ...when(IF_ANY_BIT, flags, [answer(refuse(EPERM))]),
    answer(ALLOW),
  ];
  const instructions: Instruction[] = [
    // Programs for another kind of processor, such as those of 32 bits, have numbers of their own and are not run.
    load(ARCHITECTURE_AT),
    [IF_EQUAL, 1, 0, ARCHITECTURE[processor]],
    answer(refuse(ENOSYS)),
    load(NUMBER_AT),
    ...(processor === "x64" ? when(IF_AT_LEAST, X32, [answer(refuse(ENOSYS))]) : []),
    ...all(ADMINISTRATION, EPERM),
    ...all(UNKNOWN, ENOSYS),
    ...onCall(CLONE[processor], noNamespaces(NEW_NAMESPACES)),
    ...onCall(UNSHARE[processor], noNamespaces(NEW_NAMESPACES | NEW_TIME)),
    ...onCall(SOCKET[processor], [
      load(argumentAt(0)),
      ...[AF.unix, AF.inet, AF.inet6].flatMap((family) => when(IF_EQUAL, family, [answer(ALLOW)])),
      // Its protocol 0 lists the network's interfaces; the others reach far into the kernel.
      ...when(IF_EQUAL, AF.netlink, [load(argumentAt(2)), ...when(IF_EQUAL, 0, [answer(ALLOW)])]),
      // Among them AF_VSOCK, which leads to the host of a virtual machine, past all network namespaces.
      answer(refuse(EAFNOSUPPORT)),
    ]),
    ...onCall(IOCTL[processor], [
      load(argumentAt(1)),
      ...TYPING.flatMap((request) => when(IF_EQUAL, request, [answer(refuse(EPERM))])),
      answer(ALLOW),
    ]),
    answer(ALLOW),
  ];
  return assemble(instructions);
}

/** `struct sock_filter` for each instruction; both kinds of processor put the lowest byte first. */
function assemble(instructions: readonly Instruction[]): Buffer {
  const program = Buffer.alloc(8 * instructions.length);
  instructions.forEach(([code, yes, no, operand], i) => {
    program.writeUInt16LE(code, 8 * i);
    program.writeUInt8(yes, 8 * i + 2);
    program.writeUInt8(no, 8 * i + 3);
    program.writeUInt32LE(operand >>> 0, 8 * i + 4);
  });
  return program;
}

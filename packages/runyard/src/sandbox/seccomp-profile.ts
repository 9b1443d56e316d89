import { constants } from "node:os";
import { ADMINISTRATION, AF, NEW_NAMESPACES, NEW_TIME, TYPING, UNKNOWN } from "./seccomp.ts";

/**
 * The same filter of system calls as in the other sandboxes, as engines take it (the OCI runtime specification). Their
 * own ones differ: Podman's lets user namespaces be made, and Docker's of before 23 opens sockets to the host of a
 * virtual machine. What those refuse beyond this one is refused here too.
 */

/** Refused to containers beside what all sandboxes are refused: old holes of the kernel, and what no program there needs. */
const FURTHER = [
  "create_module",
  "fanotify_init",
  "get_kernel_syms",
  "get_mempolicy",
  "kcmp",
  "mbind",
  "migrate_pages",
  "move_pages",
  "name_to_handle_at",
  "query_module",
  "set_mempolicy",
  "set_mempolicy_home_node",
  "sysfs",
  "ustat",
  "vm86",
  "vm86old",
];

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "SCMP_ARCH_X86_64", arm64: "SCMP_ARCH_AARCH64" };
const { EPERM, ENOSYS, EAFNOSUPPORT } = constants.errno;
/** Of these arguments the kernel looks at no more than this. */
const LOWER_HALF = 0xffffffff;
/** Families above are refused together. */
const LAST_FAMILY = AF.netlink;

interface Argument {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: "SCMP_CMP_EQ" | "SCMP_CMP_NE" | "SCMP_CMP_GT" | "SCMP_CMP_MASKED_EQ";
}

interface Rule {
  readonly names: readonly string[];
  readonly action: "SCMP_ACT_ERRNO";
  readonly errnoRet: number;
  readonly args?: readonly Argument[];
}

/** A profile for `seccomp=`, or null for a processor that has none. */
export interface SyscallProfile {
  readonly defaultAction: "SCMP_ACT_ALLOW";
  readonly architectures: readonly string[];
  readonly syscalls: readonly Rule[];
}

const refuse = (names: readonly string[], errnoRet: number, args?: readonly Argument[]): Rule => ({
  names,
  action: "SCMP_ACT_ERRNO",
  errnoRet,
  ...(args !== undefined && { args }),
});
const bitsOf = (flags: number): number[] => Array.from({ length: 32 }, (_, bit) => 2 ** bit).filter((bit) => (flags & bit) !== 0);
/** One rule for each bit: any of them is enough. */
const anyBit = (name: string, flags: number): Rule[] =>
  bitsOf(flags).map((bit) => refuse([name], EPERM, [{ index: 0, value: bit, valueTwo: bit, op: "SCMP_CMP_MASKED_EQ" }]));

/** The profile for a kind of processor; null where there is none for it. */
export function syscallProfile(processor: string): SyscallProfile | null {
  const architecture = ARCHITECTURES[processor];
  if (architecture === undefined) return null;
  const usual: readonly number[] = Object.values(AF);
  const families = Array.from({ length: LAST_FAMILY }, (_, family) => family).filter((family) => !usual.includes(family));
  return {
    defaultAction: "SCMP_ACT_ALLOW",
    // Programs for another kind of processor have numbers of their own and are not run.
    architectures: [architecture],
    syscalls: [
      refuse([...Object.keys(ADMINISTRATION), ...FURTHER], EPERM),
      refuse(Object.keys(UNKNOWN), ENOSYS),
      ...anyBit("clone", NEW_NAMESPACES),
      ...anyBit("unshare", NEW_NAMESPACES | NEW_TIME),
      ...families.map((value) =>
        refuse(["socket"], EAFNOSUPPORT, [{ index: 0, value: LOWER_HALF, valueTwo: value, op: "SCMP_CMP_MASKED_EQ" }]),
      ),
      // Also what has something above the lower half, which no program means.
      refuse(["socket"], EAFNOSUPPORT, [{ index: 0, value: LAST_FAMILY, op: "SCMP_CMP_GT" }]),
      refuse(["socket"], EAFNOSUPPORT, [
        { index: 0, value: AF.netlink, op: "SCMP_CMP_EQ" },
        { index: 2, value: 0, op: "SCMP_CMP_NE" },
      ]),
      ...TYPING.map((request) => refuse(["ioctl"], EPERM, [{ index: 1, value: LOWER_HALF, valueTwo: request, op: "SCMP_CMP_MASKED_EQ" }])),
    ],
  };
}

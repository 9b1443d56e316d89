import { describe, expect, it, onTestFinished, test } from "vitest";
import { sandboxDriver } from "./drivers.ts";
import { syscallFilter } from "./seccomp.ts";
import { runStep } from "./step.ts";
import { openLab } from "./testing/lab.ts";
import { ASK_ALL, readAnswers, REFUSALS } from "./testing/system-calls.ts";

const ALLOWED = "allowed";
const [EPERM, ENOSYS, EAFNOSUPPORT] = ["EPERM", "ENOSYS", "EAFNOSUPPORT"];
const ERRNO: Readonly<Record<number, string>> = { 1: EPERM, 38: ENOSYS, 97: EAFNOSUPPORT };
const X64 = 0xc000003e;
const ARM64 = 0xc00000b7;
const I386 = 0x40000003;

/** What a kernel would answer to a call: the operations of classic BPF that filters may have, on `struct seccomp_data`. */
function ask(filter: Buffer, call: { readonly arch: number; readonly nr: number; readonly args?: readonly number[] }): string {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(call.nr, 0);
  data.writeUInt32LE(call.arch, 4);
  (call.args ?? []).forEach((value, i) => data.writeBigUInt64LE(BigInt(value), 16 + 8 * i));
  let accumulator = 0;
  for (let at = 0; ; at += 1) {
    const [code, yes, no, k] = [filter.readUInt16LE(8 * at), filter[8 * at + 2]!, filter[8 * at + 3]!, filter.readUInt32LE(8 * at + 4)];
    const jump = (holds: boolean): number => (holds ? yes : no);
    if (code === 0x20) accumulator = data.readUInt32LE(k);
    else if (code === 0x15) at += jump(accumulator === k);
    else if (code === 0x35) at += jump(accumulator >= k);
    else if (code === 0x45) at += jump((accumulator & k) !== 0);
    else if (code === 0x06) return k === 0x7fff0000 ? ALLOWED : (ERRNO[k - 0x00050000] ?? `unknown answer ${k.toString(16)}`);
    else throw new Error(`unknown operation ${code.toString(16)}`);
  }
}

describe.each([
  { processor: "x64", arch: X64, mount: 165, clone: 56, clone3: 435, unshare: 272, socket: 41, ioctl: 16, read: 0, ptrace: 101, vfork: 58 },
  {
    processor: "arm64",
    arch: ARM64,
    mount: 40,
    clone: 220,
    clone3: 435,
    unshare: 97,
    socket: 198,
    ioctl: 29,
    read: 63,
    ptrace: 117,
    vfork: 1,
  },
])("the filter of system calls on $processor", ({ processor, arch, ...nr }) => {
  const filter = syscallFilter(processor)!;
  const answer = (number: number, ...args: number[]): string => ask(filter, { arch, nr: number, args });

  test("refuses what administrates a machine, and lets the rest through", () => {
    expect(answer(nr.mount)).toBe(EPERM);
    expect(answer(nr.clone3)).toBe(ENOSYS);
    expect([answer(nr.read), answer(nr.ptrace), answer(nr.vfork), answer(100_000)]).toEqual([ALLOWED, ALLOWED, ALLOWED, ALLOWED]);
  });

  test("lets programs and threads begin, and no namespaces", () => {
    const [fork, thread] = [0x01200011, 0x003d0f00];
    expect([answer(nr.clone, fork), answer(nr.clone, thread), answer(nr.unshare, 0x200)]).toEqual([ALLOWED, ALLOWED, ALLOWED]);
    for (const flag of [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]) {
      expect(answer(nr.clone, fork | flag)).toBe(EPERM);
      expect(answer(nr.unshare, flag)).toBe(EPERM);
    }
    expect(answer(nr.unshare, 0x80)).toBe(EPERM);
  });

  test("opens the usual sockets, and no others", () => {
    expect([1, 2, 10].map((family) => answer(nr.socket, family, 1, 0))).toEqual([ALLOWED, ALLOWED, ALLOWED]);
    expect(answer(nr.socket, 16, 3, 0)).toBe(ALLOWED);
    expect([4, 12, 15].map((protocol) => answer(nr.socket, 16, 3, protocol))).toEqual([EAFNOSUPPORT, EAFNOSUPPORT, EAFNOSUPPORT]);
    const others = Array.from({ length: 50 }, (_, family) => family).filter((family) => ![1, 2, 10, 16].includes(family));
    expect(new Set(others.map((family) => answer(nr.socket, family, 1, 0)))).toEqual(new Set([EAFNOSUPPORT]));
    // Of the family the kernel looks at 32 bits, whatever stands above them.
    expect(answer(nr.socket, 40 + 2 ** 32, 1, 0)).toBe(EAFNOSUPPORT);
    expect(answer(nr.socket, 1 + 2 ** 32, 1, 0)).toBe(ALLOWED);
  });

  test("lets terminals be asked, and nothing be typed into them", () => {
    expect([0x5412, 0x541c, 0x5412 + 2 ** 32].map((request) => answer(nr.ioctl, 0, request))).toEqual([EPERM, EPERM, EPERM]);
    expect(answer(nr.ioctl, 0, 0x5413)).toBe(ALLOWED);
  });

  test("runs no programs for another kind of processor", () => {
    expect([ask(filter, { arch: I386, nr: 4 }), ask(filter, { arch: arch === X64 ? ARM64 : X64, nr: 63 })]).toEqual([ENOSYS, ENOSYS]);
  });
});

test("x32 has no way around it, and for other processors there is none", () => {
  expect(ask(syscallFilter("x64")!, { arch: X64, nr: 0x40000000 + 165 })).toBe(ENOSYS);
  expect(syscallFilter("riscv64")).toBeNull();
});

const { isolation, reason } = await sandboxDriver("bwrap").probe();
const skipped = reason ?? (isolation.syscalls === "none" ? "this kernel takes no filter" : null);

/** These are let through by every kernel where nothing filters; the others are not in all. */
const EVERYWHERE = ["a keyring", "a key", "clone3 without arguments"];

describe.skipIf(skipped !== null || process.arch !== "x64")(`in a sandbox${skipped === null ? "" : ` (skipped: ${skipped})`}`, () => {
  it("the kernel refuses them, and would not without the filter", async () => {
    const lab = await openLab("seccomp");
    onTestFinished(lab.close);
    const { launch } = await lab.prepare(sandboxDriver("bwrap"), lab.newSpec(ASK_ALL));
    const answers = async (args: readonly string[]): Promise<Map<string, string>> => {
      const step = { spawner: lab.spawner, dir: lab.newDir(), launch: { ...launch, args, join: [] }, timeoutMs: 20_000 };
      return readAnswers((await runStep(step)).stdout);
    };
    expect(await answers(launch.args)).toEqual(REFUSALS);
    const unfiltered = await answers(launch.args.filter((_, i) => launch.args[i] !== "--seccomp" && launch.args[i - 1] !== "--seccomp"));
    expect(EVERYWHERE.map((name) => unfiltered.get(name))).toEqual(["done", "done", "other"]);
  });
});

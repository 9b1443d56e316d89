import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A real sshd on the loopback, which lets the user `git` in with one key. */
export interface SshServer {
  readonly port: number;
  /** The key that it lets in. */
  readonly privateKey: string;
  /** A line of `known_hosts` with its own key. */
  readonly knownHosts: () => string;
  /** Gives it another key of its own, and starts it again. */
  changeHostKey(): Promise<void>;
  close(): Promise<void>;
}

/** The sshd of this machine, or one of its distribution's packages, unpacked into `dir`; or why there is none. */
export function findSshd(dir: string): { readonly program: string; readonly libraries: string } | { readonly reason: string } {
  const installed = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].find((file) => existsSync(file));
  if (installed !== undefined) return { program: installed, libraries: "" };
  if (spawnSync("apt-get", ["--version"]).status !== 0) return { reason: "there is no sshd here, and no apt-get to fetch one" };
  mkdirSync(dir, { recursive: true });
  const fetched = spawnSync("apt-get", ["download", "openssh-server", "libwrap0"], { cwd: dir, timeout: 120_000 });
  const unpacked = spawnSync("sh", ["-c", 'for one in *.deb; do dpkg-deb -x "$one" . || exit 1; done'], { cwd: dir });
  const program = path.join(dir, "usr/sbin/sshd");
  if (fetched.status !== 0 || unpacked.status !== 0 || !existsSync(program)) return { reason: "no sshd could be fetched" };
  const libraries = execFileSync("sh", ["-c", "find lib usr/lib -name '*.so*' -exec dirname {} + 2>/dev/null | sort -u"], {
    cwd: dir,
    encoding: "utf8",
  });
  return {
    program,
    libraries: libraries
      .trim()
      .split("\n")
      .map((one) => path.join(dir, one))
      .join(":"),
  };
}

/** Runs as a user of its own name space, so that neither root nor a user `git` is needed. */
export async function startSshServer(dir: string, sshd: { readonly program: string; readonly libraries: string }): Promise<SshServer> {
  mkdirSync(dir, { recursive: true });
  const file = (name: string): string => path.join(dir, name);
  const makeKey = (name: string): void =>
    void execFileSync("sh", ["-c", 'rm -f "$1" "$1.pub"; ssh-keygen -q -t ed25519 -N "" -C "" -f "$1"', "sh", file(name)]);
  makeKey("host");
  makeKey("user");
  const port = await freePort();
  writeFileSync(file("authorized_keys"), readFileSync(file("user.pub")));
  writeFileSync(file("passwd"), `git:x:1000:1000::${dir}:/bin/sh\n`);
  const settings = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${file("host")}`,
    `AuthorizedKeysFile ${file("authorized_keys")}`,
    `PidFile ${file("pid")}`,
    "StrictModes no",
    "UsePAM no",
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
  ];
  writeFileSync(file("sshd_config"), `${settings.join("\n")}\n`);
  chmodSync(file("host"), 0o600);

  const start = async (): Promise<() => Promise<void>> => {
    const words = ["--dev-bind", "/", "/", "--ro-bind", file("passwd"), "/etc/passwd", "--unshare-user", "--uid", "1000", "--gid", "1000"];
    const child = spawn("bwrap", [...words, "--die-with-parent", "--", sshd.program, "-D", "-e", "-f", file("sshd_config")], {
      env: { PATH: process.env["PATH"], LD_LIBRARY_PATH: sshd.libraries },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    child.stderr.on("data", (bytes: Buffer) => (said += bytes.toString()));
    while (!(await answers(port))) {
      if (child.exitCode !== null) throw new Error(`sshd ended: ${said}`);
      await sleep(50);
    }
    return async () => {
      const ended = once(child, "exit");
      child.kill();
      await ended;
      // bwrap ends, and what it watches over with it, a moment later.
      while (await answers(port)) await sleep(20);
    };
  };
  let stop = await start();
  return {
    port,
    privateKey: readFileSync(file("user"), "utf8"),
    knownHosts: () => `[127.0.0.1]:${port} ${readFileSync(file("host.pub"), "utf8")}`,
    async changeHostKey() {
      await stop();
      makeKey("host");
      stop = await start();
    },
    close: () => stop(),
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

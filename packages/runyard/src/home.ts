import { createHash } from "node:crypto";
import { lstatSync, mkdirSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import path from "node:path";

/**
 * Where everything of one Runyard lives on a machine. All of it is below one directory with rights
 * 0700, but for sockets whose path would be longer than the kernel takes.
 */
export interface Home {
  readonly root: string;
  /** What the running server tells about itself: pid, url (JSON, 0600). */
  readonly serverFile: string;
  readonly adminTokenFile: string;
  /** The secret from which the gateway tokens of runs are derived (0600). */
  readonly secretFile: string;
  /** The key with which secrets are encrypted, where none is configured (0600). */
  readonly secretsKeyFile: string;
  /** Programs that outlive the server, by content: `runtime/<hash>/`. */
  readonly runtimeDir: string;
  /** The authority by which the gateway shows itself to programs in sandboxes, its key with it (0600), and what those are shown of it. */
  readonly authorityDir: string;
  readonly postgresDir: string;
  /** The directory of PostgreSQL's socket (0700). */
  readonly postgresSocketDir: string;
  readonly spawnerDir: string;
  readonly gatewayDir: string;
  /** The gateway's public door: the only directory of the gateway that is mounted into sandboxes. */
  readonly gatewayDoorDir: string;
  /** The gateway's control socket; never mounted. */
  readonly gatewayControlSocket: string;
  /** One directory for each run: attempts, workspace, the agent's home, patch. */
  readonly runsDir: string;
  /** Bare clones, one for each repository. */
  readonly cacheDir: string;
  /** Snapshots of what set-up made, by their ids. */
  readonly snapshotsDir: string;
  /** Checkouts that workspaces lie upon, by repository and commit. */
  readonly basesDir: string;
  /** Run directories of short commands of the host (git); removed once read. */
  readonly stepsDir: string;
  readonly logsDir: string;
}

/** Longest path of a unix socket, less the name that is put behind a directory here. */
const MAX_SOCKET_DIR = 107 - ".s.PGSQL.5432.lock".length - 12;

/** A directory for sockets: below the home where its path is short enough, else in the temporary directory. */
function socketDir(root: string, name: string): string {
  const wanted = path.join(root, name);
  if (Buffer.byteLength(wanted) <= MAX_SOCKET_DIR) return wanted;
  const digest = createHash("sha256").update(wanted).digest("hex").slice(0, 16);
  return path.join(tmpdir(), `runyard-${process.getuid?.() ?? 0}-${digest}`);
}

/** `RUNYARD_HOME`, or `~/.runyard`. */
export function defaultHomeRoot(env: NodeJS.ProcessEnv = process.env): string {
  return path.resolve(env["RUNYARD_HOME"] || path.join(homedir(), ".runyard"));
}

/** The paths of a home; makes nothing. */
export function homeAt(root: string): Home {
  const below = (...parts: string[]): string => path.join(root, ...parts);
  return {
    root,
    serverFile: below("server.json"),
    adminTokenFile: below("admin-token"),
    secretFile: below("secret"),
    secretsKeyFile: below("secrets-key"),
    runtimeDir: below("runtime"),
    authorityDir: below("authority"),
    postgresDir: below("postgres"),
    postgresSocketDir: socketDir(root, "pgsock"),
    spawnerDir: below("spawner"),
    gatewayDir: below("gateway"),
    gatewayDoorDir: socketDir(root, "gateway/door"),
    gatewayControlSocket: path.join(socketDir(root, "gateway/control"), "sock"),
    runsDir: below("runs"),
    cacheDir: below("cache"),
    snapshotsDir: below("snapshots"),
    basesDir: below("bases"),
    stepsDir: below("steps"),
    logsDir: below("logs"),
  };
}

/** Directories of sockets that do not lie below the home, its path being too long. */
export function socketDirsOutside(home: Home): string[] {
  const dirs = [home.postgresSocketDir, home.gatewayDoorDir, path.dirname(home.gatewayControlSocket)];
  return dirs.filter((dir) => !dir.startsWith(home.root + path.sep));
}

/** Makes a directory with rights 0700, and refuses one that somebody else owns (the temporary directory is shared). */
export function makePrivateDir(dir: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const stat = lstatSync(dir);
  const uid = process.getuid?.();
  if (!stat.isDirectory() || (uid !== undefined && stat.uid !== uid)) {
    throw new Error(`${dir} is not a directory of this user: remove it, or set RUNYARD_HOME to another place`);
  }
}

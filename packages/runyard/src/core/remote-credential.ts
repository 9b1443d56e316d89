/** What a server of repositories is shown. */
export type RemoteCredential = TokenCredential | SshKeyCredential;

/** A GitHub App, which gets a token for each thing that is done. Nobody but GitHub sees anything of its key. */
export interface GithubAppCredential {
  readonly kind: "github-app";
  readonly id: string;
  /** Or its client id. */
  readonly appId: string;
  /** In PEM: RSA, without a passphrase. */
  readonly privateKey: string;
}

export interface TokenCredential {
  readonly kind: "token";
  readonly id: string;
  readonly username: string;
  readonly token: string;
}

export interface SshKeyCredential {
  readonly kind: "ssh-key";
  readonly id: string;
  /** In PEM or OpenSSH's form, without a passphrase. */
  readonly privateKey: string;
  /** Lines of a `known_hosts` file; null: the host's key is learned when it is first called. */
  readonly knownHosts: string | null;
}

/** Why a text is no private key that a program can use by itself, as a sentence; null: it looks like one. */
export function whyNoPrivateKey(text: string): string | null {
  if (/^(ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/=]+/.test(text.trim())) return "It is a public key: give the private one, the file without .pub";
  const [, body = ""] =
    /^-----BEGIN [A-Z ]*PRIVATE KEY-----\r?\n([\s\S]+?)\r?\n-----END [A-Z ]*PRIVATE KEY-----\s*$/.exec(text.trim()) ?? [];
  if (body === "") return "It is no private key: it must begin with -----BEGIN … PRIVATE KEY----- and end with its END line";
  if (/ENCRYPTED/.test(text) || isLockedOpenSsh(body))
    return "The key has a passphrase, which nobody could type when it is used: make one without (ssh-keygen -t ed25519 -N '' -f FILE) that can do nothing else";
  return null;
}

/** OpenSSH's form names its cipher behind a magic word: `none` in a key without a passphrase. */
function isLockedOpenSsh(body: string): boolean {
  const packed = body.replaceAll(/\s/g, "");
  if (!packed.startsWith(OPENSSH_MAGIC)) return false;
  return !packed.startsWith(OPENSSH_UNLOCKED);
}

/** Base64 of `openssh-key-v1\0`, whose 15 bytes fill 20 characters, and of that with the length and name of the cipher. */
const OPENSSH_MAGIC = "b3BlbnNzaC1rZXktdjEA";
const OPENSSH_UNLOCKED = `${OPENSSH_MAGIC}AAAABG5vbmU`;

/** Why a text is no `known_hosts`, as a sentence; null: it looks like one. */
export function whyNoKnownHosts(text: string): string | null {
  const lines = text.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("#"));
  const fits = (line: string): boolean => /^(@(cert-authority|revoked) )?\S+ (ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/=]+/.test(line);
  if (lines.length > 0 && lines.every(fits)) return null;
  return "It holds no lines of a known_hosts file, as `ssh-keyscan HOST` prints them: host, kind of key, key";
}

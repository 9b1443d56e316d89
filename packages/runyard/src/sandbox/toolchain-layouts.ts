/** How programs that people install beside the system's lie on a disk. */
export interface ToolchainLayout {
  readonly name: string;
  /** The variable that names its root where that is another one; what is shown needs it inside too. */
  readonly variable?: string;
  /** Where it usually is; `~` is the home. */
  readonly roots: readonly string[];
  /**
   * What is shown, below the root: everything without `*`, and of what has one that which is used. Nothing else of the
   * root is: there lie configurations, caches and credentials.
   */
  readonly parts: readonly string[];
  /** Layouts without which its programs do not work. */
  readonly needs?: readonly string[];
  /** A file below the root that says which version is used, and how. */
  readonly version?: { readonly file: string; readonly pattern: RegExp };
}

const FIRST_LINE = /^\s*(\S+)/;

/** Read in this order: the first that holds a path has it. */
export const TOOLCHAIN_LAYOUTS: readonly ToolchainLayout[] = [
  { name: "nvm", variable: "NVM_DIR", roots: ["~/.nvm"], parts: ["versions/node/*", "versions/io.js/*"] },
  { name: "fnm", variable: "FNM_DIR", roots: ["~/.local/share/fnm", "~/.fnm"], parts: ["node-versions/*"] },
  { name: "volta", variable: "VOLTA_HOME", roots: ["~/.volta"], parts: ["bin", "tools"] },
  {
    name: "asdf",
    variable: "ASDF_DATA_DIR",
    roots: ["~/.asdf"],
    parts: ["bin", "lib", "libexec", "plugins", "installs", "shims", "asdf.sh"],
  },
  { name: "mise", variable: "MISE_DATA_DIR", roots: ["~/.local/share/mise"], parts: ["installs", "plugins", "shims"] },
  {
    name: "pyenv",
    variable: "PYENV_ROOT",
    roots: ["~/.pyenv"],
    parts: ["bin", "libexec", "plugins", "pyenv.d", "shims", "version", "versions"],
    version: { file: "version", pattern: FIRST_LINE },
  },
  {
    name: "rbenv",
    variable: "RBENV_ROOT",
    roots: ["~/.rbenv"],
    parts: ["bin", "libexec", "plugins", "rbenv.d", "shims", "version", "versions"],
    version: { file: "version", pattern: FIRST_LINE },
  },
  { name: "cargo", roots: ["~/.cargo"], parts: ["bin"], needs: ["rustup"] },
  {
    name: "rustup",
    variable: "RUSTUP_HOME",
    roots: ["~/.rustup"],
    parts: ["settings.toml", "toolchains"],
    version: { file: "settings.toml", pattern: /^default_toolchain\s*=\s*"([^"\n]+)"/m },
  },
  { name: "go programs", roots: ["~/go"], parts: ["bin"] },
  { name: "go", roots: ["~/sdk"], parts: ["go*"] },
  { name: "deno", roots: ["~/.deno"], parts: ["bin"] },
  { name: "bun", roots: ["~/.bun"], parts: ["bin", "install/global/node_modules"] },
  { name: "sdkman", roots: ["~/.sdkman"], parts: ["candidates/*"] },
  { name: "npm", roots: ["~/.npm-global"], parts: ["bin", "lib/node_modules"] },
  { name: "uv", roots: ["~/.local/share/uv"], parts: ["python", "tools"] },
  { name: "pipx", roots: ["~/.local/share/pipx", "~/.local/pipx"], parts: ["shared", "venvs"] },
  { name: "~/.local", roots: ["~/.local"], parts: ["bin", "lib"] },
  {
    name: "Homebrew",
    roots: ["/home/linuxbrew/.linuxbrew", "~/.linuxbrew"],
    // Of its etc, what its TLS asks for: elsewhere there, services have their configurations, and in var their data.
    parts: [
      "bin",
      "Cellar",
      "Frameworks",
      "include",
      "lib",
      "libexec",
      "opt",
      "sbin",
      "share",
      "etc/ca-certificates",
      "etc/openssl@3/cert.pem",
      "etc/openssl@3/openssl.cnf",
    ],
  },
  { name: "/opt", roots: ["/opt"], parts: ["*"] },
];

/** Below the home: what is never shown, nor anything that it is a part of. */
export const SECRET_PLACES: readonly string[] = [
  ".aws",
  ".azure",
  ".cargo/credentials",
  ".cargo/credentials.toml",
  ".claude",
  ".codex",
  ".config",
  ".docker",
  ".gem/credentials",
  ".git-credentials",
  ".gnupg",
  ".kube",
  ".local/share/keyrings",
  ".local/state",
  ".m2/settings.xml",
  ".mozilla",
  ".netrc",
  ".npmrc",
  ".password-store",
  ".pypirc",
  ".ssh",
];

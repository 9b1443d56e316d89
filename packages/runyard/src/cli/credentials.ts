import type { RunyardClient } from "@runyard/sdk";
import type { Credential, SetCredentialRequest } from "@runyard/sdk/contract";
import { Option } from "commander";
import { command, GROUP, jsonOption } from "./commands.ts";
import { connect } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";
import { type Paint, paintFor, print, printable, printJson, say } from "./output.ts";
import { readText } from "./read-text.ts";

interface AddOptions {
  readonly tokenStdin?: boolean;
  readonly username?: string;
  readonly sshKey?: string;
  readonly knownHosts?: string;
  readonly githubApp?: string;
  readonly privateKeyStdin?: boolean;
  readonly json?: boolean;
}

const HOW_TO_ADD = "Store one with: runyard credentials add https://git.example.com/acme --token-stdin < token.txt";

export const credentials = command("credentials", {
  summary: "List credentials for repositories on other machines, and store some",
  group: GROUP.settings,
  more: "A repository by URL is fetched and pushed with the credential whose URL its own begins with; of several the longest counts. Values are encrypted, shown to the host of their URL only, and never shown again; no sandbox has them.",
  examples: [
    "runyard credentials",
    "runyard credentials add https://git.example.com/acme --token-stdin < token.txt",
    "runyard credentials rm https://git.example.com/acme",
  ],
})
  .addOption(jsonOption())
  .action(async (options: { json?: boolean }) => {
    const data = await allOf(connect());
    if (options.json === true) return printJson({ data });
    if (data.length === 0) return say(`No credential is stored yet. ${HOW_TO_ADD}`);
    for (const line of render(data, paintFor(process.stdout))) print(line);
  });

const add = command("add", {
  summary: "Store a token, an SSH key or a GitHub App, in place of the one of this URL",
  group: GROUP.settings,
  more: "A token comes from stdin and a key from its file, never from the command line, where others could read it. A key must have no passphrase; better make one that can do nothing else. Without --known-hosts the host's key is learned when it is first called, and must stay the same from then on. Of a GitHub App each run gets tokens for its own repository, with the least rights.",
  examples: [
    "runyard credentials add https://git.example.com/acme --token-stdin < token.txt",
    "runyard credentials add https://git.example.com --token-stdin --username build < password.txt",
    "runyard credentials add git@git.example.com:acme --ssh-key deploy_key --known-hosts known_hosts",
    "runyard credentials add https://github.com/acme --github-app 123456 --private-key-stdin < app.private-key.pem",
  ],
})
  .argument("<url>", "what the URLs of its repositories begin with")
  .addOption(new Option("--token-stdin", "a token, or a password, from stdin").conflicts(["sshKey", "knownHosts"]))
  .option("--username <name>", "the user whose token it is (default: x-access-token, which most servers take)")
  .addOption(new Option("--ssh-key <file>", "a private key, for SSH").conflicts("username"))
  .option("--known-hosts <file>", "what the host must show, as ssh-keyscan prints it")
  .addOption(
    new Option("--github-app <id>", "a GitHub App, by its app id or client id").conflicts([
      "tokenStdin",
      "username",
      "sshKey",
      "knownHosts",
    ]),
  )
  .option("--private-key-stdin", "the private key of the app from stdin, as GitHub gave it")
  .addOption(jsonOption())
  .action(async (url: string, options: AddOptions) => {
    const request = await requestOf(url, options);
    const stored = await connect().credentials.set(request);
    if (options.json === true) printJson(stored);
    else say(`Stored the credential for ${printable(stored.url)}. A run uses it with: runyard run "<task>" --repo <URL>`);
  });

const remove = command("rm", {
  summary: "Delete a credential",
  group: GROUP.settings,
  more: "Runs whose repository needs it cannot fetch or push any more.",
  examples: ["runyard credentials rm https://git.example.com/acme"],
})
  .argument("<url>", "its URL, as it is listed, or its id")
  .addOption(jsonOption())
  .action(async (url: string, options: { json?: boolean }) => {
    const client = connect();
    const found = (await allOf(client)).find((one) => one.url === url.replace(/\/+$/, "") || one.id === url);
    if (found === undefined)
      throw new CliError("There is no such credential.", { advice: "See: runyard credentials", exitCode: EXIT.refused });
    await client.credentials.delete(found.id);
    if (options.json === true) printJson(found);
    else say(`Deleted the credential for ${printable(found.url)}.`);
  });

for (const one of [add, remove]) credentials.addCommand(one);

async function requestOf(url: string, options: AddOptions): Promise<SetCredentialRequest> {
  const { tokenStdin, username, sshKey, knownHosts, githubApp, privateKeyStdin = false } = options;
  if (privateKeyStdin !== (githubApp !== undefined))
    throw new CliError("A GitHub App takes both its id and its private key.", {
      advice: "Give --github-app ID and --private-key-stdin, with the .pem file on stdin.",
      exitCode: EXIT.usage,
    });
  if (githubApp !== undefined) return { kind: "github-app", url, appId: githubApp, privateKey: await readText("-") };
  if (sshKey !== undefined) {
    const privateKey = await readText(sshKey);
    return { kind: "ssh-key", url, privateKey, ...(knownHosts !== undefined && { knownHosts: await readText(knownHosts) }) };
  }
  if (tokenStdin !== true)
    throw new CliError("Nothing says what is to be stored.", {
      advice: "Give --token-stdin, with the token on stdin, --ssh-key FILE, or --github-app ID with --private-key-stdin.",
      exitCode: EXIT.usage,
    });
  const token = (await readText("-")).replace(/\r?\n$/, "");
  return { kind: "token", url, token, ...(username !== undefined && { username }) };
}

async function allOf(client: RunyardClient): Promise<Credential[]> {
  const data: Credential[] = [];
  for await (const one of client.credentials.list({ limit: 100 })) data.push(one);
  return data;
}

function render(data: readonly Credential[], paint: Paint): string[] {
  const width = Math.max(...data.map((one) => one.url.length));
  return data.flatMap((one) => {
    const lost = one.usable ? "" : `  ${paint("yellow", `not usable: this server does not have its key ${one.keyId}`)}`;
    const hosts = (one.knownHosts ?? "").split("\n").filter((line) => line.trim() !== "");
    return [
      `${paint("bold", printable(one.url.padEnd(width)))}  ${printable(kindOf(one))}  ${paint("dim", one.updatedAt)}${lost}`,
      ...hosts.map((line) => paint("dim", `  must show ${printable(line)}`)),
    ];
  });
}

function kindOf({ kind, username, appId, knownHosts }: Credential): string {
  if (kind === "token") return `token of ${username ?? ""}`;
  if (kind === "github-app") return `GitHub App ${appId ?? ""}`;
  return knownHosts === null ? "key, of a host not called yet" : "key";
}

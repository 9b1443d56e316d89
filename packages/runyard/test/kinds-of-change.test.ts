// Changes that are out of the ordinary, from the agent's hands to a branch, a pull request, a patch and the files that it names.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Run } from "@runyard/sdk/contract";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { openGithubLab } from "../src/testing/github-lab.ts";
import { useLine } from "../src/testing/line.ts";
import { gitIn, makeRepository, readLog } from "../src/testing/server.ts";

const unavailable = (await sandboxDriver("bwrap").probe()).reason;
const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:1111\nsize 4\n";
const STEERING = /(?![\n\t])[\p{Cc}\u202a-\u202e\u2066-\u2069]/u;

describe.skipIf(unavailable !== null || !full)(
  unavailable === null ? "kinds of changes" : `kinds of changes cannot be tested: ${unavailable}`,
  async () => {
    const lab = await openGithubLab();
    const bare = path.join(lab.root, "git/acme/app.git");
    const line = useLine({ env: lab.env });

    beforeAll(async () => {
      await line.client.credentials.set({ kind: "token", url: `${lab.git.url}/acme`, token: lab.token });
      const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, at) => [`many/${at}.txt`, `file ${at}\n`]));
      const files = { "tool.sh": "#!/bin/sh\n", ".gitattributes": "*.big filter=lfs diff=lfs merge=lfs -text\n", "data.big": POINTER };
      const source = makeRepository(lab.root, { "README.md": "# App\n", ...files, ...many }, "kinds");
      gitIn(bare, "fetch", "--quiet", source, "+main:main");
    });
    beforeEach(() => lab.begin());
    afterAll(() => lab.close());

    interface Change {
      readonly run: Run;
      readonly branch: string;
      readonly codes: readonly string[];
      /** Of the pull request. */
      readonly body: string;
    }

    async function changed(command: string): Promise<Change> {
      const client = await line.serve([{ run: command }, { say: "Done." }]);
      const { id } = await client.runs.create({ task: "Change it", repositoryUrl: lab.repositoryUrl });
      const run = await client.runs.waitForEnd(id);
      const log = await readLog(client, id);
      const codes = log.flatMap((event) => (event.type === "notice" ? [event.data.code] : []));
      expect(run).toMatchObject({ status: "completed", error: null, responseType: "pr", result: { headBranch: `runyard/${id}` } });
      return { run, codes, branch: `runyard/${id}`, body: lab.github.pulls.at(-1)?.body ?? "" };
    }

    /** The patch, as a file and as it is printed, gives the tree of the branch. */
    async function expectPatch({ run, branch }: Change): Promise<void> {
      const clone = path.join(line.home.root, `clone-${run.id}`);
      gitIn(line.home.root, "clone", "--quiet", "--no-checkout", bare, clone);
      gitIn(clone, "-c", "filter.lfs.smudge=", "checkout", "--quiet", "main");
      const file = path.join(line.home.root, `${run.id}.patch`);
      expect(await line.home.cli(["pull", run.id, "--patch", file])).toMatchObject({ code: 0 });
      gitIn(clone, "apply", "--index", file);
      expect(gitIn(clone, "write-tree")).toBe(gitIn(bare, "rev-parse", `${branch}^{tree}`));
      const shown = await line.home.cli(["diff", run.id, "--stat"]);
      expect(shown.code).toBe(0);
      expect(shown.stdout).not.toMatch(STEERING);
    }

    const modes = (branch: string): string[] => gitIn(bare, "diff", "--raw", "--no-renames", "main", branch).split("\n");

    test("a binary file", async () => {
      const change = await changed("printf '\\0\\1\\2\\377' >data.bin; head -c 100000 /dev/urandom >>data.bin");
      expect(change.run.result).toMatchObject({ filesChanged: 1, insertions: 0, deletions: 0 });
      expect(change.body).toContain("- ` data.bin ` binary");
      await expectPatch(change);
    }, 60_000);

    test("nothing but the mode of a file", async () => {
      const change = await changed("chmod +x tool.sh");
      expect(change.run.result).toMatchObject({ filesChanged: 1, insertions: 0, deletions: 0 });
      expect(modes(change.branch)).toEqual([expect.stringMatching(/^:100644 100755 .* M\ttool\.sh$/)]);
      expect(await line.client.runs.patch(change.run.id)).toContain("old mode 100644\nnew mode 100755\n");
      await expectPatch(change);
    }, 60_000);

    test("a thousand files that are renamed", async () => {
      const change = await changed("mv many moved");
      expect(change.run.result).toMatchObject({ filesChanged: 1_000, insertions: 0, deletions: 0 });
      expect(change.body).toContain("- and 970 more");
      expect(change.body.length).toBeLessThan(10_000);
      const files = (await line.client.runs.files(change.run.id)).data;
      expect(new Set(files.map(({ status }) => status))).toEqual(new Set(["renamed"]));
      await expectPatch(change);
    }, 90_000);

    test("a submodule, and a repository inside of the tree, whose files come and whose history does not", async () => {
      const change = await changed(
        "git init --quiet inner && cd inner && echo x >file.txt && git add file.txt && git -c user.name=A -c user.email=a@x.invalid commit --quiet --message Inner && cd .. && " +
          'git update-index --add --cacheinfo "160000,$(git -C inner rev-parse HEAD),inner" && printf "[submodule \\"inner\\"]\\n\\tpath = inner\\n\\turl = https://elsewhere.example/x.git\\n" >.gitmodules && ' +
          "git add .gitmodules && git -c user.name=A -c user.email=a@x.invalid commit --quiet --message Submodule",
      );
      expect(change.codes).toContain("nested-repository");
      expect(gitIn(bare, "ls-tree", "-r", "--name-only", change.branch, "inner")).toBe("inner/file.txt");
      expect(gitIn(bare, "ls-tree", "-r", change.branch)).not.toContain("160000 commit");
      await expectPatch(change);
    }, 60_000);

    test("pointers of LFS, as they are", async () => {
      const change = await changed("sed -i s/1111/2222/ data.big && printf 'not a pointer' >new.big");
      expect(gitIn(bare, "show", `${change.branch}:data.big`)).toBe(POINTER.replace("1111", "2222").trimEnd());
      expect(gitIn(bare, "show", `${change.branch}:new.big`)).toBe("not a pointer");
      await expectPatch(change);
    }, 60_000);

    test("links out of the tree, which stay links and lead nobody there", async () => {
      const change = await changed("ln -s /etc/passwd absolute; ln -s ../../../../etc/passwd relative; ln -s .git/config inside");
      expect(modes(change.branch).map((entry) => entry.slice(8, 14))).toEqual(["120000", "120000", "120000"]);
      for (const [name, target] of Object.entries({ absolute: "/etc/passwd", relative: "../../../../etc/passwd" })) {
        expect(gitIn(bare, "show", `${change.branch}:${name}`)).toBe(target);
        expect(Buffer.from(await line.client.runs.file(change.run.id, name)).toString()).toBe(target);
      }
      await expectPatch(change);
    }, 60_000);

    test("names with line breaks, quotes and signs that act, and a path of four kilobytes", async () => {
      const part = "d".repeat(240);
      const change = await changed(
        [
          String.raw`printf x >"$(printf 'two\nM  +1 −0  lines.txt')"`,
          String.raw`printf x >"$(printf 'tab\tand \033[31mred\033[0m')"`,
          String.raw`printf x >"$(printf 'evil\342\200\256txt.exe')"`,
          String.raw`printf x >"\"double\" 'single' \`tick\` @octocat #12 <img src=x>"`,
          `i=0; while [ $i -lt 16 ]; do i=$((i+1)); mkdir ${part} && cd ${part} || exit; done; printf x >deep.txt`,
        ].join("; "),
      );
      const deep = `${Array.from({ length: 16 }, () => part).join("/")}/deep.txt`;
      expect(change.run.result).toMatchObject({ filesChanged: 5, insertions: 5 });
      const files = (await line.client.runs.files(change.run.id)).data.map((file) => file.path).toSorted();
      const names = [
        "two\nM  +1 −0  lines.txt",
        "tab\tand \u001b[31mred\u001b[0m",
        "evil\u202etxt.exe",
        "\"double\" 'single' `tick` @octocat #12 <img src=x>",
        deep,
      ];
      expect(files).toEqual(names.toSorted());
      for (const name of names) expect(Buffer.from(await line.client.runs.file(change.run.id, name)).toString()).toBe("x");
      // One line for each, in the description and on a terminal.
      const rows = change.body.split("\n").filter((row) => row.startsWith("- `"));
      expect(rows).toHaveLength(5);
      expect(change.body).not.toMatch(STEERING);
      expect(change.body.length).toBeLessThan(5_000);
      const shown = (await line.home.cli(["diff", change.run.id, "--stat"])).stdout;
      expect(shown.trimEnd().split("\n")).toHaveLength(6);
      await expectPatch(change);
    }, 60_000);

    test("a hundred megabytes of text, which is shown and taken whole, in pieces", async () => {
      const change = await changed("head -c 75000000 /dev/urandom | base64 >big.txt");
      expect(change.run.result).toMatchObject({ filesChanged: 1 });
      const [size] = gitIn(bare, "cat-file", "-s", `${change.branch}:big.txt`).split("\n").map(Number);
      expect(size).toBeGreaterThan(100_000_000);
      const status = `/proc/${line.server.pid}/status`;
      const kilobytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(readFileSync(status, "utf8"))?.[1]);
      writeFileSync(`/proc/${line.server.pid}/clear_refs`, "5");
      const before = kilobytes("VmRSS");
      let bytes = 0;
      let most = 0;
      for await (const piece of line.client.runs.patchStream(change.run.id)) {
        bytes += piece.length;
        most = Math.max(most, piece.length);
      }
      expect(bytes).toBeGreaterThan(size ?? 0);
      expect(most).toBeLessThan(2_000_000);
      // The server never holds all of it.
      expect((kilobytes("VmHWM") - before) / 1024).toBeLessThan(90);
      const { stdout } = await line.home.cli(["diff", change.run.id]);
      expect(Buffer.byteLength(stdout)).toBe(bytes);
      await expectPatch(change);
    }, 300_000);
  },
);

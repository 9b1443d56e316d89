import type { PermissionPolicyRequest } from "@runyard/sdk/contract";
import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { permissionOptions } from "./permission-options.ts";

function parse(...words: string[]): PermissionPolicyRequest | undefined {
  const { allow, ask, deny, policy } = permissionOptions();
  const command = new Command().exitOverride().configureOutput({ writeErr: () => undefined });
  command.addOption(allow).addOption(ask).addOption(deny).parse(words, { from: "user" });
  return policy();
}

describe("the options of a policy", () => {
  test("none is none", () => {
    expect(parse()).toBeUndefined();
  });

  test("kinds alone are lists, as they were before there were rules", () => {
    expect(parse("--ask", "edit, execute", "--deny", "fetch")).toEqual({ ask: ["edit", "execute"], deny: ["fetch"] });
    expect(parse("--ask", "all")?.ask).toHaveLength(10);
  });

  test("with a pattern or a consent they are rules, in their order across the options", () => {
    expect(parse("--allow", "execute:npm test*", "--deny", "execute:git push: *", "--ask", "edit,delete:src/**", "--deny", "all")).toEqual({
      rules: [
        { decision: "allow", kinds: ["execute"], commands: ["npm test*"], name: "allow execute: npm test*" },
        { decision: "deny", kinds: ["execute"], commands: ["git push: *"], name: "deny execute: git push: *" },
        { decision: "ask", kinds: ["edit", "delete"], paths: ["src/**"], name: "ask edit, delete: src/**" },
        { decision: "deny", name: "deny all" },
      ],
    });
  });

  test("a pattern that makes no name has none", () => {
    const long = "x".repeat(100);
    expect(parse("--allow", `execute:${long}`, "--deny", "execute:a\nb")?.rules?.map((rule) => rule.name)).toEqual([undefined, undefined]);
  });

  test("a path may go up to a further repository", () => {
    expect(parse("--deny", "edit:../repositories/lib/**")?.rules).toMatchObject([{ paths: ["../repositories/lib/**"] }]);
  });

  test.each([
    ["--ask", "everything", /no kind of tool call/],
    ["--deny", "execute:", /must follow the colon/],
    ["--deny", "execute,edit:x", /an option of its own/],
    ["--deny", "all:x", /an option of its own/],
    ["--deny", "edit:../x", /must not go up/],
    ["--deny", "edit:../repositories", /must not go up/],
    ["--deny", "edit:../repositories/../x", /must not go up/],
    ["--deny", "edit:a/../repositories/lib/x", /must not go up/],
  ])("%s %s is refused", (option, value, message) => {
    expect(() => parse(option, value)).toThrow(message);
  });
});

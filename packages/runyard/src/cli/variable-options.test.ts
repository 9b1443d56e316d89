import { Command } from "commander";
import { expect, test } from "vitest";
import { addNoVariableOptions, addVariableOptions, parseVariable, type VariableOptions, variableRequest } from "./variable-options.ts";

function read(...words: string[]): ReturnType<typeof variableRequest> {
  const command = addNoVariableOptions(addVariableOptions(new Command(), "the run"));
  command.exitOverride().configureOutput({ writeErr: () => undefined });
  return variableRequest(command.parse(words, { from: "user" }).opts<VariableOptions>());
}

test("--env and --secret may be repeated, the last value of a name counts, and nothing said is nothing asked", () => {
  expect(read()).toEqual({});
  expect(read("--env", "A=1", "--env", "B=x=y", "--env", "A=", "--secret", "T", "--secret", "U")).toEqual({
    environment: { A: "", B: "x=y" },
    secrets: ["T", "U"],
  });
  expect(read("--no-env", "--no-secret")).toEqual({ environment: {}, secrets: [] });
});

test("a name alone takes the value from where the command runs, and says so where there is none", () => {
  expect(parseVariable("TOKEN", { TOKEN: "here" })).toEqual({ TOKEN: "here" });
  expect(parseVariable("TOKEN", { TOKEN: "" })).toEqual({ TOKEN: "" });
  expect(() => parseVariable("TOKEN", {})).toThrow("TOKEN is not set here. Give its value: --env TOKEN=value.");
});

test("names that cannot be are refused with the reason", () => {
  expect(() => read("--env", "PATH=/x")).toThrow("must not be PATH: Runyard sets it itself");
  expect(() => read("--env", "1A=x")).toThrow("must be letters, digits and _");
  expect(() => read("--secret", "LD_PRELOAD")).toThrow("must not be LD_PRELOAD");
});

import { changeOrganizationSchema } from "@runyard/sdk/contract";
import { Command } from "commander";
import { expect, test } from "vitest";
import { addOrganizationBounds, boundsRequest } from "./bounds-options.ts";

function parse(...words: string[]): ReturnType<typeof boundsRequest> {
  const command = addOrganizationBounds(new Command().exitOverride().configureOutput({ writeErr: () => undefined }));
  return boundsRequest(command.parse(words, { from: "user" }).opts());
}

test("what is left out stays, lists are collected, and each can be taken away, as the contract takes it", () => {
  expect(parse()).toEqual({});
  const whole = parse(
    "--egress",
    "npm, A.example.com",
    "--egress",
    "go",
    "--egress-allowed",
    "*.example.com",
    "--isolation-floor",
    "strict",
  );
  expect(whole).toEqual({ egress: ["npm", "a.example.com", "go"], egressAllowed: ["*.example.com"], isolationFloor: "strict" });
  expect(changeOrganizationSchema.safeParse(whole).success).toBe(true);
  expect(parse("--no-egress", "--no-egress-allowed", "--no-isolation-floor")).toEqual({
    egress: [],
    egressAllowed: null,
    isolationFloor: null,
  });
  expect(parse("--egress-allowed", "none")).toEqual({ egressAllowed: [] });
});

test("what is no host or no floor is refused", () => {
  expect(() => parse("--egress", "10.0.0.1")).toThrow("must be a host like api.example.com");
  expect(() => parse("--egress-allowed", "npm", "--egress-allowed", "none")).toThrow('"none" stands for itself');
  expect(() => parse("--isolation-floor", "hard")).toThrow("Allowed choices are none, sandbox, strict");
});

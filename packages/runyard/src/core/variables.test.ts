import { expect, test } from "vitest";
import { resolveVariables } from "./variables.ts";

test("of two variables of one name the more special one counts, and the rest is joined", () => {
  const organization = { environment: { A: "org", B: "org", C: "org" } };
  const repository = { environment: { B: "repository", D: "" } };
  expect(resolveVariables([organization, repository, {}, { environment: { C: "run" } }])).toEqual({
    environment: { A: "org", B: "repository", C: "run", D: "" },
  });
});

test("a secret hides a plain value of a more general level, and the other way round", () => {
  const levels = [
    { environment: { A: "plain" }, secrets: ["B", "C"] },
    { environment: { B: "plain" }, secrets: ["A"] },
  ];
  expect(resolveVariables(levels)).toEqual({ environment: { B: "plain" }, secrets: ["A", "C"] });
});

test("nothing is left out rather than empty", () => {
  expect(resolveVariables([{}, { environment: {}, secrets: [] }])).toEqual({});
  expect(resolveVariables([{ secrets: ["A"] }, { secrets: ["A"] }])).toEqual({ secrets: ["A"] });
});

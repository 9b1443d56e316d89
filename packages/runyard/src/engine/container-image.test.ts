import { containerImageSchema } from "@runyard/sdk/contract";
import { expect, test } from "vitest";
import { parseDockerImage } from "../configuration.ts";
import { imageFor } from "./container-image.ts";

const refusal = (message: string): object =>
  expect.objectContaining({ code: "invalid_request", message: expect.stringContaining(message) });

test("an image is the run's, or else the server's, and for docker only", () => {
  expect(imageFor("docker", "node:22", "debian")).toBe("node:22");
  expect(imageFor("docker", undefined, "debian")).toBe("debian");
  expect(imageFor("bwrap", undefined, "debian")).toBeNull();
  expect(() => imageFor("docker", undefined, null)).toThrow(refusal("needs an image"));
  expect(() => imageFor("process", "node:22", null)).toThrow(refusal("this run has process"));
});

test("what names an image", () => {
  const digest = `sha256:${"0123456789abcdef".repeat(4)}`;
  for (const name of ["node", "node:22", "registry.example/a/b-c_d.e:v1", "localhost:5000/x", `a/b@${digest}`, `a:1@${digest}`, digest])
    expect(containerImageSchema.safeParse(name).success, name).toBe(true);
  for (const name of ["", "-v", "a b", "a/../../b?x", "a//b", "a:", ":1", "a@sha256:xyz", "a\nb", "a".repeat(600)])
    expect(containerImageSchema.safeParse(name).success, name).toBe(false);
  expect(parseDockerImage("node:22")).toBe("node:22");
  expect(() => parseDockerImage("-v")).toThrow('must name a container image, for example node:22: got "-v"');
});

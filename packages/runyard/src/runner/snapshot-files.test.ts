import { execFileSync } from "node:child_process";
import { chmodSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { createRedactor } from "../redact.ts";
import { findSecret, measure } from "./snapshot-files.ts";

let top = "";
const at = (...names: string[]): string => path.join(top, ...names);
beforeEach(() => {
  top = mkdtempSync(path.join(tmpdir(), "runyard-snapshot-"));
  onTestFinished(() => rmSync(top, { recursive: true, force: true }));
  mkdirSync(at("dir", "below"), { recursive: true });
  writeFileSync(at("dir", "file"), "12345");
  symlinkSync("/etc/passwd", at("link"));
});

test("a copy measures the same, and whatever is gone, changed or added does not", async () => {
  const before = await measure(top);
  expect(before).toMatchObject({ files: 4, bytes: expect.any(Number) as number });
  const copy = `${top}-copy`;
  execFileSync("cp", ["-a", top, copy]);
  onTestFinished(() => rmSync(copy, { recursive: true, force: true }));
  expect((await measure(copy)).fingerprint).toBe(before.fingerprint);
  const changes: (() => void)[] = [
    () => utimesSync(at("dir", "file"), 1, 1),
    () => truncateSync(at("dir", "file"), 4),
    () => chmodSync(at("dir", "file"), 0o700),
    () => rmSync(at("dir", "below"), { recursive: true }),
    () => writeFileSync(at("new"), ""),
    () => rmSync(at("link")),
    () => symlinkSync("/etc/group", at("link")),
  ];
  let last = before.fingerprint;
  for (const change of changes) {
    change();
    const { fingerprint } = await measure(top);
    expect(fingerprint).not.toBe(last);
    last = fingerprint;
  }
});

test("names that are no text are names like others: measured, looked through, and never taken for one another", async () => {
  const redactor = createRedactor([], [{ name: "TOKEN", value: "cnry-7Xq9Zt-Vb3kLm8" }]);
  const named = (last: number): Buffer => Buffer.concat([Buffer.from(at("dir", "na")), Buffer.from([last, 0x6d, 0x65])]);
  for (const last of [0xfe, 0xff]) mkdirSync(named(last));
  const inside = (last: number): Buffer => Buffer.concat([named(last), Buffer.from("/file")]);
  for (const last of [0xff, 0xfe]) writeFileSync(inside(last), "12345");
  const before = await measure(top);
  expect(before.files).toBe(8);
  expect(await findSecret(top, redactor)).toBeNull();
  truncateSync(inside(0xff), 4);
  expect((await measure(top)).fingerprint).not.toBe(before.fingerprint);
  writeFileSync(inside(0xff), "cnry-7Xq9Zt-Vb3kLm8");
  expect(await findSecret(top, redactor)).toEqual({ label: "[secret TOKEN]", file: "dir/na\uFFFDme/file" });
});

test("what is no file, folder or link is not looked at", async () => {
  execFileSync("mkfifo", [at("fifo")]);
  await expect(measure(top)).rejects.toThrow("fifo is neither a file nor a folder nor a link");
  await expect(measure(at("nowhere"))).rejects.toThrow("ENOENT");
});

test("a secret is found wherever it stands, also where two parts of a file meet, and no link is followed", async () => {
  const redactor = createRedactor([], [{ name: "TOKEN", value: "cnry-7Xq9Zt-Vb3kLm8" }]);
  const outside = `${top}-outside`;
  writeFileSync(outside, "cnry-7Xq9Zt-Vb3kLm8");
  onTestFinished(() => rmSync(outside));
  symlinkSync(outside, at("out"));
  expect(await findSecret(top, redactor)).toBeNull();
  const part = 256 * 1024;
  for (const before of [0, part - 5, part, 3 * part - 1]) {
    writeFileSync(at("dir", "file"), `${"x".repeat(before)}cnry-7Xq9Zt-Vb3kLm8 and more`);
    expect(await findSecret(top, redactor)).toEqual({ label: "[secret TOKEN]", file: "dir/file" });
  }
  linkSync(at("dir", "file"), at("again"));
  expect(await findSecret(top, createRedactor([]))).toBeNull();
});

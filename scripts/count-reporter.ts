import { writeFileSync } from "node:fs";
import type { Reporter, TestCase, TestModule, TestSuite } from "vitest/node";

/** Of what one failure says; the whole stands further up, where it happened. */
const MAX_FAILURE_LINES = 40;

export interface TestCounts {
  readonly passed: number;
  /** Failed tests, and whatever else makes a run red: files and suites that broke, errors that nobody caught. */
  readonly failed: number;
  readonly skipped: number;
}

/**
 * Says at the end of a run which tests were skipped (unless tests were selected by name), then what
 * failed and with which message, and, alone on the last line, the counts. What failed comes again at the
 * end, because of a long output often only the end is kept.
 * With `RUNYARD_TEST_COUNTS` that line is written to the file of that name, too.
 */
export function countReporter(): Reporter {
  let isSelection = false;
  return {
    onInit(vitest) {
      isSelection = vitest.config.testNamePattern !== undefined;
    },
    onTestRunEnd(modules, unhandledErrors) {
      const line = countsLine(countTests(modules, unhandledErrors.length));
      const skipped = isSelection ? [] : skippedLines(modules);
      const failed = [...failedLines(modules), ...unhandledErrors.flatMap((error) => describeFailure("outside of a test", [error]))];
      process.stdout.write(`${[...skipped, ...failed, line].join("\n")}\n`);
      const file = process.env["RUNYARD_TEST_COUNTS"];
      if (file) writeFileSync(file, `${line}\n`);
    },
  };
}

function countTests(modules: readonly TestModule[], unhandledErrors: number): TestCounts {
  const tests = allTests(modules);
  const inState = (...states: string[]): number => tests.filter((test) => states.includes(test.result().state)).length;
  const broken = modules.flatMap((module) => [module, ...module.children.allSuites()]).filter(isBrokenByItself);
  return {
    passed: inState("passed"),
    failed: inState("failed") + broken.length + unhandledErrors,
    // A test that never came to run, because the run was broken off, did not pass either.
    skipped: inState("skipped", "pending"),
  };
}

/** A file or suite that went wrong and in which no test counts as failed for it. */
function isBrokenByItself(part: TestModule | TestSuite): boolean {
  return part.errors().length > 0 && [...part.children.allTests()].every((test) => test.result().state !== "failed");
}

function countsLine({ passed, failed, skipped }: TestCounts): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

function skippedLines(modules: readonly TestModule[]): string[] {
  return allTests(modules)
    .filter((test) => test.result().state === "skipped")
    .map(describeSkip);
}

function describeSkip(test: TestCase): string {
  const result = test.result();
  const note = result.state === "skipped" && result.note !== undefined ? ` (${result.note})` : "";
  return `skipped: ${test.module.relativeModuleId} > ${test.fullName}${note}`;
}

/** Everything that makes a run red, by name, each with its messages. */
function failedLines(modules: readonly TestModule[]): string[] {
  return modules.flatMap((module) => {
    const broken = [module, ...module.children.allSuites()].filter(isBrokenByItself);
    const failed = [...module.children.allTests()].filter((test) => test.result().state === "failed");
    return [
      ...broken.flatMap((part) => describeFailure(nameOf(part), part.errors())),
      ...failed.flatMap((test) => describeFailure(nameOf(test), test.result().errors ?? [])),
    ];
  });
}

function nameOf(part: TestModule | TestSuite | TestCase): string {
  return part.type === "module" ? part.relativeModuleId : `${part.module.relativeModuleId} > ${part.fullName}`;
}

/** A line with the name, and below it, indented, the head of each message and of its stack. */
function describeFailure(name: string, errors: readonly { readonly message: string; readonly stack?: string }[]): string[] {
  const texts = errors.map((error) => [error.message, ...stackFrames(error.stack ?? "")].join("\n"));
  return [`failed: ${name}`, ...texts.flatMap((text) => text.split("\n").slice(0, MAX_FAILURE_LINES)).map((line) => `    ${line}`)];
}

function stackFrames(stack: string): string[] {
  return stack
    .split("\n")
    .filter((line) => /^\s+at /.test(line) && !line.includes("node_modules"))
    .slice(0, 4);
}

function allTests(modules: readonly TestModule[]): TestCase[] {
  return modules.flatMap((module) => [...module.children.allTests()]);
}

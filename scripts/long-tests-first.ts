import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Small files with long tests, the longest first: begun last, they would keep one worker busy while the others have nothing to do. */
export const LONG = [
  "packages/runyard/test/commands/commands.test.ts",
  "packages/runyard/test/pull-requests-killed.test.ts",
  "packages/runyard/test/chaos/chaos.test.ts",
  "scripts/matrix/matrix.test.ts",
  "packages/runyard/test/podman.test.ts",
  "packages/runyard/test/docker.test.ts",
  "packages/runyard/test/retention.test.ts",
  "packages/runyard/test/rebase-killed.test.ts",
  "packages/runyard/test/checks-killed.test.ts",
];

/** The usual order, in which large files come first, with long ones before them. */
export class LongTestsFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = LONG.findIndex((name) => moduleId.endsWith(`/${name}`));
      return at === -1 ? LONG.length : at;
    };
    return (await super.sort(files)).toSorted((one, other) => rank(one) - rank(other));
  }
}

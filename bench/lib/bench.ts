import type { Row } from "./report.ts";

/** What every bench is given. */
export interface BenchContext {
  /** The built program that is measured. */
  readonly program: string;
  /** Measured rounds; medians are taken of them. */
  readonly rounds: number;
  /** A count for this run: the given one, or a tiny one where only the bench itself is tried. */
  count(full: number): number;
  /** Tells a person what is being done. */
  say(message: string): void;
}

/** Measures and gives lines of the table. */
export type Bench = (context: BenchContext) => Promise<Row[]>;

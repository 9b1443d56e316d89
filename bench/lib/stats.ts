/** The value below which the share `q` (0 to 1) of the values lies. Of no values: NaN. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? Number.NaN) + high) / 2;
}

/**
 * Lets every contender work once in each round, so that whatever else the machine does meets all of them.
 * The one that begins changes from round to round. A first round that nobody looks at warms everything up,
 * unless that is done already.
 */
export async function interleave<T, Name extends string>(
  rounds: number,
  contenders: Readonly<Record<Name, () => Promise<T>>>,
  isWarm = false,
): Promise<Record<Name, T[]>> {
  const names = Object.keys(contenders) as Name[];
  const measured = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Name, T[]>;
  for (let round = isWarm ? 1 : 0; round <= rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length] as Name;
      const got = await contenders[name]();
      if (round > 0) measured[name].push(got);
    }
  }
  return measured;
}

/** The median of one figure of what was measured. */
export function medianOf<T>(measured: readonly T[], pick: (one: T) => number): number {
  return median(measured.map(pick));
}

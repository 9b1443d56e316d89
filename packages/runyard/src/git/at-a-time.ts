/** Does so many things at a time, and the others in the order in which they came. */
export function atATime(most: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let atWork = 0;
  return async (work) => {
    if (atWork === most) await new Promise<void>((begin) => waiting.push(begin));
    else atWork += 1;
    try {
      return await work();
    } finally {
      // Whoever is next takes this place.
      const next = waiting.shift();
      if (next === undefined) atWork -= 1;
      else next();
    }
  };
}

import { accessSync, constants, type Stats, statSync } from "node:fs";
import path from "node:path";

/** Why a home cannot be used, and what to do about it. */
export interface HomeProblem {
  /** A clause without a full stop. */
  readonly found: string;
  /** A sentence. */
  readonly advice: string;
}

const INSTEAD = "or set RUNYARD_HOME to a folder that is yours.";

/** Looks whether this user can keep a home there, which need not exist yet; changes nothing. Null: it can be. */
export function homeProblem(root: string): HomeProblem | null {
  let place = root;
  try {
    const [nearest, stat] = nearestExisting(root);
    place = nearest;
    if (!stat.isDirectory()) {
      const found = place === root ? `${root} is a file, not a folder` : `${root} cannot be made: ${place} is a file, not a folder`;
      return { found, advice: `Move that file away, ${INSTEAD}` };
    }
    const uid = process.getuid?.();
    if (place === root && uid !== undefined && stat.uid !== uid)
      return { found: `${root} belongs to another user`, advice: `Run Runyard as the user that owns it, ${INSTEAD}` };
    accessSync(place, constants.W_OK | constants.X_OK);
    return null;
  } catch (error) {
    return problemOf(error as NodeJS.ErrnoException, { root, place });
  }
}

function problemOf(error: NodeJS.ErrnoException, { root, place }: { readonly root: string; readonly place: string }): HomeProblem {
  if (error.code === "ENAMETOOLONG")
    return { found: "The path of the home is longer than this system takes", advice: "Set RUNYARD_HOME to a shorter one." };
  if (error.code === "EROFS")
    return { found: `${root} lies on a file system that cannot be written`, advice: "Set RUNYARD_HOME to a folder on another one." };
  return { found: `${root} cannot be written`, advice: `Give your user the right to write ${place}, ${INSTEAD}` };
}

/** The place itself, or the nearest one above it that exists. */
function nearestExisting(place: string): [string, Stats] {
  try {
    return [place, statSync(place)];
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if ((code !== "ENOENT" && code !== "ENOTDIR") || path.dirname(place) === place) throw error;
    return nearestExisting(path.dirname(place));
  }
}

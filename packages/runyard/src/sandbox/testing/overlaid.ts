import { existsSync, mkdirSync, realpathSync, renameSync } from "node:fs";
import path from "node:path";
import type { Launch, SandboxDriver } from "../driver.ts";
import { enterWords, holderFile, holderLaunch, livingHolder, type Overlay, type OverlayMeans, overlaySupport } from "../overlay.ts";
import { type Lab, waitFor } from "./lab.ts";

/** An overlay below a lab, held: what was in `workspace` is its layer below. */
export interface HeldOverlay {
  readonly overlay: Overlay;
  /** The run directory of its holder. */
  readonly holder: string;
  readonly enter: readonly string[];
}

interface HoldOptions {
  readonly start: (launch: Launch) => Promise<string>;
  /** Null: those of this process's user. */
  readonly notes: OverlayMeans["notes"] | null;
  /** Called with the folder in which all of it lies, before it is mounted. */
  readonly prepare: (dir: string) => void;
}

export async function holdOverlay(lab: Lab, workspace: string, options: Partial<HoldOptions> = {}): Promise<HeldOverlay> {
  const { start = lab.start, notes = null, prepare } = options;
  const root = realpathSync(lab.root);
  const support = await overlaySupport(root);
  if (!support.available) throw new Error(support.reason);
  const target = path.relative(root, realpathSync(workspace));
  const dir = `${target}.overlay`;
  const lower = `${target}.lower`;
  renameSync(workspace, path.join(root, lower));
  mkdirSync(workspace);
  mkdirSync(path.join(root, dir, "upper"), { recursive: true });
  const overlay: Overlay = { root, dir, target, lowers: [lower] };
  const means = { ...support.means, ...(notes !== null && { notes }) };
  prepare?.(path.dirname(workspace));
  const holder = await start(holderLaunch(means, overlay, null));
  await waitFor(() => existsSync(path.join(holder, "ready")) && livingHolder(overlay));
  return { overlay, holder, enter: enterWords(means, holderFile(overlay)) };
}

/** A driver all of whose workspaces are overlays upon what was in them. */
export function overlaid(driver: SandboxDriver, lab: () => Lab): SandboxDriver {
  const held = new Map<string, readonly string[]>();
  return {
    ...driver,
    async prepare(spec) {
      const { workspace } = spec.dirs;
      const enter = held.get(workspace) ?? (await holdOverlay(lab(), workspace)).enter;
      held.set(workspace, enter);
      return driver.prepare({ ...spec, enter });
    },
  };
}

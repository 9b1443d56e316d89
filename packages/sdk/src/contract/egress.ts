import { z } from "zod";

/** Package registries by name: what their usual clients need to be allowed. */
export const EGRESS_PRESETS = {
  crates: ["crates.io", "index.crates.io", "static.crates.io"],
  debian: ["deb.debian.org", "security.debian.org"],
  go: ["proxy.golang.org", "sum.golang.org"],
  maven: ["repo.maven.apache.org", "repo1.maven.org", "plugins.gradle.org", "services.gradle.org"],
  npm: ["*.npmjs.org", "*.yarnpkg.com"],
  nuget: ["api.nuget.org"],
  packagist: ["packagist.org", "repo.packagist.org"],
  pypi: ["pypi.org", "files.pythonhosted.org"],
  rubygems: ["rubygems.org", "index.rubygems.org"],
  ubuntu: ["archive.ubuntu.com", "security.ubuntu.com"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** Most hosts and presets of a list. */
export const MAX_EGRESS = 200;

const label = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?";
const PATTERN = new RegExp(`^(\\*\\.)?(${label}\\.)+(?=[a-z])${label}(:[1-9]\\d{0,4})?$`);

/**
 * A host that may be reached (`api.example.com`), all below one (`*.example.com`, not itself), or a preset's name. Ports are
 * 443 and 80, or the one that is given (`example.com:8443`). Names only: no addresses. Others than ASCII as `xn--…`.
 */
export const egressPatternSchema = z
  .string()
  .max(260)
  .toLowerCase()
  .refine((text) => Object.hasOwn(EGRESS_PRESETS, text) || (PATTERN.test(text) && Number(/:(\d+)$/.exec(text)?.[1] ?? 443) <= 65_535), {
    message: `must be a host like api.example.com or *.example.com, with :port where it is neither 443 nor 80, or one of ${Object.keys(EGRESS_PRESETS).join(", ")}`,
  });

export const egressSchema = z.array(egressPatternSchema).max(MAX_EGRESS);

/** Who gives a run hosts to reach. */
export const EGRESS_SOURCES = ["organization", "repository", "agent", "run"] as const;
export type EgressSource = (typeof EGRESS_SOURCES)[number];

/** What a run may reach, each with everybody who gave it. */
export const egressFromSchema = z.record(z.string(), z.array(z.enum(EGRESS_SOURCES)));

/** A host that a run wanted to reach and was not let to, and why. */
export const egressDeniedSchema = z.object({ target: z.string(), reason: z.string() });

import { z } from "zod";

/** Longest reference to an image, in characters: a name of 255, a tag of 128, a digest of 135. */
const MAX_IMAGE_CHARS = 520;

/** A container image as engines name it: `node:22`, `registry.example/team/tools@sha256:…`, or an image's id. */
export const containerImageSchema = z
  .string()
  .max(MAX_IMAGE_CHARS)
  .regex(
    /^[a-zA-Z0-9][a-zA-Z0-9._-]*(:\d+)?(\/[a-zA-Z0-9][a-zA-Z0-9._-]*)*(:[a-zA-Z0-9_][a-zA-Z0-9._-]*)?(@[a-z0-9]+:[0-9a-f]{32,128})?$/,
    "must name a container image, for example node:22",
  );

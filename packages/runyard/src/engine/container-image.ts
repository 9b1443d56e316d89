import { RunyardError, type SandboxDriverName } from "@runyard/sdk/contract";

/** The container image of a run, or null for a driver without. Throws RunyardError `invalid_request` where the two do not fit. */
export function imageFor(driver: SandboxDriverName, asked: string | undefined, usual: string | null): string | null {
  if (driver !== "docker") {
    if (asked === undefined) return null;
    throw refusal(
      `An image is for the driver docker, and this run has ${driver}: ask for docker (--sandbox docker), or leave the image out.`,
    );
  }
  const image = asked ?? usual;
  if (image !== null) return image;
  throw refusal(
    "A run with the driver docker needs an image, and this server has none of its own: name one (--image node:22), or start the server with --docker-image.",
  );
}

function refusal(message: string): RunyardError {
  return new RunyardError("invalid_request", message, { errors: [{ path: "settings.image", message }] });
}

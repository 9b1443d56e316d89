import { Refusal } from "./refusal.ts";

/**
 * Refuses messages with content that the provider would fetch from an address: agents have no network, and the provider
 * must not be theirs. Content that stands in the request itself goes through.
 */
export function refuseRemoteContent(messages: readonly unknown[]): void {
  for (const message of messages) {
    if (!isRecord(message)) continue;
    if (addressesIn(message).some(isAddress))
      throw new Refusal(400, "remote_content_not_served", {
        message:
          "Runyard's gateway passes on no addresses of images or files that the provider would fetch. Put the content itself into the request.",
      });
    const { content, parts, output, functionResponse } = message;
    refuseRemoteContent(
      [content, parts, output, [functionResponse]].flatMap((inner) => (Array.isArray(inner) ? (inner as unknown[]) : [])),
    );
  }
}

/** Whatever stands where one of the formats has the address of an image or a file. */
function addressesIn(part: Record<string, unknown>): unknown[] {
  const at = (name: string, field: string): unknown => {
    const value = part[name];
    return isRecord(value) ? value[field] : value;
  };
  const media = ["image_url", "video_url", "audio_url", "source"].map((name) => at(name, "url"));
  return [...media, part["file_url"], at("fileData", "fileUri"), at("file_data", "file_uri")];
}

/** `data:` holds the content itself, and names without a scheme are no addresses. */
function isAddress(value: unknown): boolean {
  return typeof value === "string" && /^\s*(?!data:)[a-z][a-z0-9+.-]{0,30}:/i.test(value.slice(0, 100));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** Refuses a tool by which the provider would reach addresses that the agent names. */
export function refuseTool(name: string): never {
  throw new Refusal(400, "remote_tool_not_served", {
    message: `Runyard's gateway does not serve the provider's tool "${name}": with it the provider would reach addresses that the agent names.`,
  });
}

/** Refuses input that lies at the provider, for which `field` stands. */
export function refuseStored(field: string): never {
  throw new Refusal(400, "stored_input_not_served", {
    message: `Runyard's gateway does not serve "${field}": it stands for input that lies at the provider, where nobody here can see or count it. Send the whole input with each request.`,
  });
}

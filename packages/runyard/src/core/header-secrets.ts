import { VALUE_PLACE } from "@runyard/sdk/contract";
import { outsideOf } from "./egress-bounds.ts";
import type { Target } from "./egress.ts";

/** Where a secret goes that no sandbox has. */
export interface HeaderPlace {
  /** With its port where that is not 443, in lower case. */
  readonly host: string;
  /** `name: line`, the name in lower case, `{value}` in the line in the place of the secret. */
  readonly header: string;
}

/** Where requests go into which a header is put: a host by https. */
export function targetOf({ host }: Pick<HeaderPlace, "host">): Target {
  const [name = "", port = "443"] = host.split(":");
  return { host: name, port: Number(port) };
}

/** The pattern by which a run may reach it. */
export function egressPatternOf(place: Pick<HeaderPlace, "host">): string {
  const { host, port } = targetOf(place);
  return `${host}:${port}`;
}

/** The header's name, in lower case, and its content with the value in it. */
export function headerWith({ header }: Pick<HeaderPlace, "header">, value: string): { readonly name: string; readonly content: string } {
  const [name, line] = partsOf(header);
  return { name, content: line.replaceAll(VALUE_PLACE, () => value) };
}

function partsOf(header: string): [name: string, line: string] {
  const colon = header.indexOf(":");
  return [header.slice(0, colon), header.slice(colon + 1).trimStart()];
}

/** Why a run cannot be given its secrets, for programs and in plain sentences. */
export interface NotGiven {
  readonly code: "sandbox_not_available" | "egress_not_allowed" | "invalid_request";
  readonly message: string;
}

/** Why a run cannot be given these secrets together; null: it can. */
export function whyNotGiven(
  secrets: readonly { readonly name: string; readonly place: HeaderPlace | null }[],
  {
    isIsolated,
    egressAllowed,
  }: {
    /** Whether programs of the run reach the network by way of the gateway only. */
    readonly isIsolated: boolean;
    /** The only hosts that runs of its organization may reach; null: any. */
    readonly egressAllowed: readonly string[] | null;
  },
): NotGiven | null {
  const taken = new Map<string, string>();
  for (const { name, place } of secrets) {
    if (place === null) continue;
    if (!isIsolated) {
      const message = `The secret ${name} is for a header of ${place.host}, which the gateway puts in: that needs the sandbox driver bwrap. Choose it, or leave the secret out.`;
      return { code: "sandbox_not_available", message };
    }
    if (outsideOf(egressPatternOf(place), egressAllowed).length > 0) {
      const message = `The secret ${name} is for a header of ${place.host}, which the organization does not allow its runs to reach: its setting \`egressAllowed\` stands in the way. Leave the secret out, or have the host added: runyard organization --egress-allowed`;
      return { code: "egress_not_allowed", message };
    }
    const header = partsOf(place.header)[0];
    const key = `${place.host} ${header}`;
    const other = taken.get(key);
    if (other !== undefined) {
      const message = `The secrets ${other} and ${name} are both for the header ${header} of ${place.host}. Leave one of them out, or store it for another header.`;
      return { code: "invalid_request", message };
    }
    taken.set(key, name);
  }
  return null;
}

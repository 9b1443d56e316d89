import type { EgressSource } from "@runyard/sdk/contract";
import { egressPatterns } from "./egress.ts";

/** Hosts and presets by who gives them to a run; null and left out: none. */
export type EgressGiven = Readonly<Partial<Record<EgressSource, readonly string[] | null | undefined>>>;

/** What a run may reach, each with everybody who gave it. */
export type EgressFrom = Readonly<Record<string, readonly EgressSource[]>>;

/** In the order in which they are told. */
const SOURCES: readonly EgressSource[] = ["organization", "repository", "agent", "run"];

/** What is given to a run: it adds up, whoever says it. */
export function joinEgress(given: EgressGiven): EgressFrom {
  const from = new Map<string, EgressSource[]>();
  for (const source of SOURCES) {
    for (const one of new Set(given[source])) from.set(one, [...(from.get(one) ?? []), source]);
  }
  return Object.fromEntries(from);
}

/** Of a host, or of those that a preset stands for, what no pattern of the ceiling allows; null: there is no ceiling. */
export function outsideOf(entry: string, ceiling: readonly string[] | null): string[] {
  if (ceiling === null) return [];
  const allowed = egressPatterns(ceiling).flatMap(placesOf);
  return egressPatterns([entry]).filter((host) => !placesOf(host).every((place) => allowed.some((one) => isWithin(place, one))));
}

/** Why a run may not have what it was given, with the host, who gave it, and the setting that is in the way; null: it may. */
export function whyNotAllowed(from: EgressFrom, ceiling: readonly string[] | null): string | null {
  const words = Object.entries(from).flatMap(([entry, sources]) =>
    outsideOf(entry, ceiling).map((host) => `${host} (${host === entry ? "" : `${entry}, `}of the ${sources.join(" and the ")})`),
  );
  if (words.length === 0) return null;
  return `The organization does not allow its runs to reach ${words.join(", ")}: its setting \`egressAllowed\` stands in the way. Leave out what is not allowed, or have it added: runyard organization --egress-allowed`;
}

interface Place {
  readonly name: string;
  readonly port: string;
}

/** A pattern that names no port stands for two. */
function placesOf(pattern: string): Place[] {
  const [name, port] = pattern.split(":") as [string, string?];
  return (port === undefined ? ["443", "80"] : [port]).map((one) => ({ name, port: one }));
}

/** Whether all that the first stands for, the second does. */
function isWithin(place: Place, allowed: Place): boolean {
  if (place.port !== allowed.port) return false;
  if (place.name === allowed.name) return true;
  // `*.example.com` holds `*.a.example.com` and `a.example.com`, and not `example.com`.
  return allowed.name.startsWith("*.") && place.name.replace(/^\*\./, "x.").endsWith(allowed.name.slice(1));
}

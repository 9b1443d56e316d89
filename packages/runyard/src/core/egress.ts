import { EGRESS_PRESETS } from "@runyard/sdk/contract";

/** Where a program wants to. */
export interface Target {
  /** In lower case. */
  readonly host: string;
  readonly port: number;
}

/** Of a pattern that names none. */
const USUAL_PORTS: readonly number[] = [443, 80];

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/**
 * What `host:port` of a CONNECT, or the authority of a URL, names; null where it names no host by its name: an address in
 * whatever notation, a name without a dot or with an empty part, a user, a byte that no name has.
 */
export function parseTarget(authority: string, usualPort: number | null): Target | null {
  const [, name, port] = /^([^:]{1,253})(?::(\d{1,5}))?$/.exec(authority) ?? [];
  const host = name?.toLowerCase();
  // What ends in a part that begins with a digit is an address to some resolver, as 127.1 and 1.0x7f are.
  if (host === undefined || !/\.[a-z][^.]*$/.test(host) || !host.split(".").every((one) => LABEL.test(one))) return null;
  const number = port === undefined ? usualPort : Number(port);
  return number === null || number < 1 || number > 65_535 ? null : { host, port: number };
}

/** The patterns of a list, with those that its presets stand for. */
export function egressPatterns(list: readonly string[]): string[] {
  const presets = new Map<string, readonly string[]>(Object.entries(EGRESS_PRESETS));
  return [...new Set(list.flatMap((one) => presets.get(one) ?? [one]))];
}

/** Whether one of the patterns allows a target. */
export function allowsTarget(patterns: readonly string[], { host, port }: Target): boolean {
  return patterns.some((pattern) => {
    const [name, own] = pattern.split(":") as [string, string?];
    const fits = name.startsWith("*.") ? host.endsWith(name.slice(1)) && host.length > name.length - 1 : host === name;
    return fits && (own === undefined ? USUAL_PORTS.includes(port) : port === Number(own));
  });
}

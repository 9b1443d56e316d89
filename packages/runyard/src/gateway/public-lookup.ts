import { lookup } from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";
import { ForbiddenAddress } from "./guarded-lookup.ts";

/** What is nobody's on the internet, by the registries of special addresses (RFC 6890 and its successors): this machine, its networks, clouds' own services. */
const NOT_PUBLIC: readonly (readonly [network: string, prefix: number, family: "ipv4" | "ipv6"])[] = [
  ["0.0.0.0", 8, "ipv4"],
  ["10.0.0.0", 8, "ipv4"],
  ["100.64.0.0", 10, "ipv4"],
  ["127.0.0.0", 8, "ipv4"],
  ["169.254.0.0", 16, "ipv4"],
  ["172.16.0.0", 12, "ipv4"],
  ["192.0.0.0", 24, "ipv4"],
  ["192.0.2.0", 24, "ipv4"],
  ["192.88.99.0", 24, "ipv4"],
  ["192.168.0.0", 16, "ipv4"],
  ["198.18.0.0", 15, "ipv4"],
  ["198.51.100.0", 24, "ipv4"],
  ["203.0.113.0", 24, "ipv4"],
  ["224.0.0.0", 3, "ipv4"],
];

const blocked = new BlockList();
for (const [network, prefix, family] of NOT_PUBLIC) blocked.addSubnet(network, prefix, family);
/** Of IPv6 only what is given out to the public, and not by way of another kind of network. */
const given = new BlockList();
given.addSubnet("2000::", 3, "ipv6");
const translated = new BlockList();
translated.addSubnet("2001::", 23, "ipv6");
translated.addSubnet("2001:db8::", 32, "ipv6");
translated.addSubnet("2002::", 16, "ipv6");
translated.addSubnet("3fff::", 20, "ipv6");

/** Networks in the form of `10.0.0.0/8` that are to count as public. Throws for what is none. */
export function networksOf(list: readonly string[]): BlockList {
  const networks = new BlockList();
  for (const text of list) {
    const [address = "", prefix] = text.split("/");
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    networks.addSubnet(address, prefix === undefined ? (family === "ipv6" ? 128 : 32) : Number(prefix), family);
  }
  return networks;
}

/** Whether an address is one of the internet's, or of the networks that count as such. */
export function isPublic(address: string, opened: BlockList = new BlockList()): boolean {
  const version = isIP(address);
  if (version === 0) return false;
  const family = version === 6 ? "ipv6" : "ipv4";
  if (opened.check(address, family)) return true;
  if (family === "ipv4") return !blocked.check(address, "ipv4");
  return given.check(address, "ipv6") && !translated.check(address, "ipv6");
}

/**
 * Looks a name up as the system does, and fails with ForbiddenAddress where one of its addresses is not public: what a
 * connection is made to is what was looked at here, whatever the name stands for a moment later. `resolve` is the system's, but in tests.
 */
export function publicLookup(opened?: BlockList, resolve: LookupFunction = lookup): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, options, (error, address, family) => {
      const found: readonly string[] = typeof address === "string" ? [address] : (address ?? []).map((one) => one.address);
      if (error === null && !found.every((one) => isPublic(one, opened))) {
        callback(new ForbiddenAddress("its name stands for an address that is not public"), "", 0);
      } else callback(error, address, family);
    });
  };
}

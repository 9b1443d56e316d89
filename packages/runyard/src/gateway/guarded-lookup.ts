import { lookup } from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";

/** Where clouds serve the credentials of their machines: nobody's MCP server, and never to be reached by way of one. */
const LINK_LOCAL = new BlockList();
LINK_LOCAL.addSubnet("169.254.0.0", 16, "ipv4");
LINK_LOCAL.addSubnet("fe80::", 10, "ipv6");
LINK_LOCAL.addAddress("fd00:ec2::254", "ipv6");
// The first of these by way of a translator of addresses.
LINK_LOCAL.addSubnet("64:ff9b::a9fe:0", 112, "ipv6");

/** An address that is not called. */
export class ForbiddenAddress extends Error {
  override readonly name = "ForbiddenAddress";
}

/** Throws ForbiddenAddress for a URL whose host is written out as an address that is not to be called. */
export function checkHost(url: URL): void {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  if (isIP(host) !== 0 && isLinkLocal(host)) throw new ForbiddenAddress("its address is link-local");
}

/** Looks a name up as the system does, and fails with ForbiddenAddress where one of its addresses is not to be called. */
export const guardedLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, options, (error, address, family) => {
    const found: readonly string[] = typeof address === "string" ? [address] : (address ?? []).map((one) => one.address);
    if (error === null && found.some(isLinkLocal)) callback(new ForbiddenAddress("its name stands for a link-local address"), "", 0);
    else callback(error, address, family);
  });
};

/** An address of IPv4 that is written in IPv6 counts as what it is. */
function isLinkLocal(address: string): boolean {
  return LINK_LOCAL.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

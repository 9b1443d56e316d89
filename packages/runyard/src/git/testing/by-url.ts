import type { RepositoryProxy } from "../../gateway/repository-proxy.ts";
import type { GitHost } from "../host-git.ts";

type Access = NonNullable<GitHost["remotes"]>;

/** A host that reaches repositories on this machine by their URLs, through a proxy. */
export function hostByUrl(host: GitHost, proxy: RepositoryProxy, access: Pick<Access, "credentialFor"> & Partial<Access>): GitHost {
  return {
    ...host,
    remotes: {
      orgId: "org_1",
      allowed: ["127.0.0.1"],
      trusted: null,
      pinHost: async () => undefined,
      openWay: (target) => proxy.admit(target),
      ...access,
    },
  };
}

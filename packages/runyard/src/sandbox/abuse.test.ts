import { sandboxDriver } from "./drivers.ts";
import { testAbuse } from "./testing/abuse-suite.ts";

const driver = sandboxDriver("bwrap");

testAbuse({
  name: "bwrap",
  whyNot: (await driver.probe()).reason,
  hostPlaces: ["/root", "/etc/shadow", "/etc/ssl/private", "/sys", "/boot", "/opt", "/srv", "/var/lib"],
  ownPlaces: [],
  open: () => Promise.resolve({ driver, close: () => Promise.resolve() }),
});

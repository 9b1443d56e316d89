import { realpathSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { sandboxDriver } from "./drivers.ts";
import { overlaySupport } from "./overlay.ts";
import { testAbuse } from "./testing/abuse-suite.ts";
import { overlaid } from "./testing/overlaid.ts";

const driver = sandboxDriver("bwrap");
const { reason } = await driver.probe();
const overlays = await overlaySupport(realpathSync(tmpdir()));
const places = {
  hostPlaces: ["/root", "/etc/shadow", "/etc/ssl/private", "/sys", "/boot", "/opt", "/srv", "/var/lib"],
  ownPlaces: [],
};
const nothing = (): Promise<void> => Promise.resolve();

testAbuse({ name: "bwrap", whyNot: reason, ...places, open: () => Promise.resolve({ driver, close: nothing }) });

if (process.env["RUNYARD_TEST_FULL"])
  testAbuse({
    name: "bwrap, upon an overlay",
    whyNot: reason ?? (overlays.available ? null : overlays.reason),
    ...places,
    layers: (workspace) => ({ lower: `${workspace}.lower`, upper: path.join(`${workspace}.overlay`, "upper") }),
    open: (lab) => Promise.resolve({ driver: overlaid(driver, lab), close: nothing }),
  });

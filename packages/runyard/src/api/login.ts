import { createLoginLinkSchema, type LoginLink } from "@runyard/sdk/contract";
import { deleteCookie, setCookie } from "hono/cookie";
import { readJson } from "./body.ts";
import type { ApiContext, ApiHandler, Logins } from "./context.ts";
import { sessionCookie } from "./identify.ts";
import { page, type Page } from "./page.ts";
import { validate } from "./validate.ts";

type LoginRoute = "createLoginLink" | "login" | "logout";

const HOME = "/docs";
const SPENT: Page = {
  title: "This link does not work any more",
  lines: ["A link signs one browser in, once, within ten minutes.", "For a new one, run this on the machine that Runyard is on:"],
  code: "runyard open",
};

/** Signing one browser in with a link, and out. */
export function loginHandlers(logins: Logins): Record<LoginRoute, ApiHandler> {
  return {
    createLoginLink: async (c) => {
      validate(createLoginLinkSchema, await readJson(c.req.raw));
      const { code, expiresAt } = await logins.createLink(c.var.principal);
      const link: LoginLink = { url: `${new URL(c.req.url).origin}/login?code=${code}`, expiresAt };
      return c.json(link, 201);
    },
    login: async (c) => {
      const code = new URL(c.req.url).searchParams.get("code") ?? "";
      // Programs that only look at a link must not use it up.
      const login = c.req.method === "HEAD" || !/^[\w-]{1,100}$/.test(code) ? null : await logins.redeem(code);
      if (login === null) return page(c, SPENT, c.req.method === "HEAD" ? 200 : 410);
      setCookie(c, sessionCookie(c), login.session, { ...cookieOptions(c), maxAge: login.lifetimeMs / 1_000 });
      // A strict cookie does not go along where another site's page began the way: then this page begins a new one.
      if (c.req.header("sec-fetch-site") === "cross-site") return page(c, { title: "Signed in", lines: [], goTo: HOME });
      return c.redirect(HOME, 303);
    },
    logout: async (c) => {
      const { principal, session } = c.var;
      if (session !== null) await logins.end(principal, session);
      deleteCookie(c, sessionCookie(c), cookieOptions(c));
      return c.body(null, 204);
    },
  };
}

function cookieOptions(c: ApiContext): { httpOnly: true; sameSite: "Strict"; path: string; secure: boolean } {
  return { httpOnly: true, sameSite: "Strict", path: "/", secure: new URL(c.req.url).protocol === "https:" };
}

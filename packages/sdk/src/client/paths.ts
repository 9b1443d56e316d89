import { ROUTES, type RouteName } from "../contract/routes.ts";

export type PathParams = Readonly<Record<string, string>>;

/** The path of a route. What goes into it could change it, and is refused before it is sent. */
export function pathOf(route: RouteName, params: PathParams = {}): string {
  return ROUTES[route].path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = params[name] ?? "";
    return name === "path" ? filePath(value) : id(value);
  });
}

function id(value: string): string {
  if (!/^[\w-]+$/.test(value)) throw new TypeError(`Not an id of Runyard: ${JSON.stringify(value)}`);
  return value;
}

function filePath(path: string): string {
  const parts = path.split("/");
  if (path.includes("\0") || parts.some((part) => part === "" || part === "." || part === "..")) {
    throw new TypeError(`Not the path of a file, from the top of the repository: ${JSON.stringify(path)}`);
  }
  return parts.map(encodeURIComponent).join("/");
}

/** Turns a title into the part of a URL that names its page: "Hello, World!" becomes "hello-world". */
export function slugify(title) {
  return title
    .trim()
    .toLowerCase()
    .replace(" ", "-")
    .replace(/[^a-z0-9-]/g, "");
}

/**
 * What to tell somebody whose Node.js is too old, or null when it will do.
 * @param {string} version for example "20.19.0"
 * @returns {string | null}
 */
export function refusalOfNode(version) {
  const parts = version.split(".").map(Number);
  const major = parts[0] || 0;
  const minor = parts[1] || 0;
  if (major > 20 || (major === 20 && minor >= 19)) return null;
  return (
    "Runyard needs Node.js 20.19 or newer; this is " +
    version +
    ". Install a newer Node.js (https://nodejs.org, or your version manager) and start again."
  );
}

/** URLs of the service, which a proxy may show under a path prefix. */

/** @param {string} path Path of the API, such as `/symbols`. @returns {string} */
export function serviceUrl(path) {
  return new URL(`../../..${path}`, import.meta.url).href; // this script is in /assets/dashboard/HASH
}

/**
 * A file's path below `/static/docs`, as the reader sent it, where
 * techdocs-backend and Callboard are bound to see the same entity in it;
 * `undefined` where they might not.
 *
 * techdocs-backend asks for the permission to read an entity in a middleware
 * mounted at `/static/docs/:namespace/:kind/:name`, ahead of the publisher. A
 * spelling that Express does not match to it (`//`) reaches the publisher
 * unasked, and one that it decodes otherwise than Callboard does is asked for
 * another entity. So the first three segments must be names and nothing else.
 * What follows them is forwarded as it stands: Callboard confines it to the
 * entity's own folder.
 *
 * @param url - what Express leaves of the request's target: path and query
 * @param originalUrl - the whole target
 */
export function staticTarget(
  url: string,
  originalUrl: string,
): string | undefined {
  // Express hands a path with a raw `#` to Node's old URL parser, which reads
  // backslashes as slashes.
  if (url.charCodeAt(0) !== SLASH || url.includes('#')) {
    return undefined;
  }
  // Of `/static/docs//default`, Express takes the first slash for a part of the
  // mount's path.
  if (
    !originalUrl.endsWith(url) ||
    originalUrl.charCodeAt(originalUrl.length - url.length - 1) === SLASH
  ) {
    return undefined;
  }
  let start = 1;
  for (let i = 0; i < 3; i++) {
    const end = url.indexOf('/', start);
    if (end < 0 || !isName(url.slice(start, end))) {
      return undefined;
    }
    start = end + 1;
  }
  return url;
}

const SLASH = 0x2f;

/** By far the most names, which mean themselves however often they are decoded. */
const PLAIN = /^[\w-][\w.-]*$/;

/**
 * A segment as RFC 3986 has it. Raw bytes beyond ASCII are none: Node reads
 * them as Latin-1, Callboard as UTF-8.
 */
const SEGMENT = /^[\w.~!$&'()*+,;=:@%-]+$/;

/** What a name can't hold once it is decoded; Callboard has nothing under such a name either. */
const FORBIDDEN = /[/\\\u0000-\u001f\u007f]/;

function isName(segment: string): boolean {
  if (PLAIN.test(segment)) {
    return true;
  }
  if (!SEGMENT.test(segment)) {
    return false;
  }
  try {
    const name = decodeURIComponent(segment);
    return name !== '.' && name !== '..' && !FORBIDDEN.test(name);
  } catch {
    return false;
  }
}

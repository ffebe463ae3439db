/**
 * The body of a review as JSON; undefined where it is none. A key such as `__proto__` is odd, but an object that has one
 * is still somebody's object, and is read as it stands: what is read is copied by own keys only (domain/unchecked.ts).
 *
 * Its managed fields are read as if there were none: nobody here asks for them, they are half of an ordinary review, and
 * to parse them takes more than twice as long as to pass over them.
 */
export function parseReview(body: Buffer): unknown {
  try {
    return JSON.parse(withoutManagedFields(body));
  } catch {
    return undefined;
  }
}

/**
 * Whatever has this name: a quote within a string has a backslash before it, so these bytes are the end of a key and the
 * beginning of its value wherever they stand. The API server writes no white space; with some, all is parsed.
 */
const KEY = Buffer.from('"managedFields":[');
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x5b;
const CLOSE = 0x5d;

function withoutManagedFields(body: Buffer): string {
  let text = '';
  let from = 0;
  for (;;) {
    const at = body.indexOf(KEY, from);
    if (at < 0) break;
    const value = at + KEY.length - 1;
    const end = endOfArray(body, value);
    if (end < 0) break;
    text += `${body.toString('utf8', from, value)}[]`;
    from = end;
  }
  return text + body.toString('utf8', from);
}

/** Behind the array that begins at `from`; -1 where it does not end. */
function endOfArray(body: Buffer, from: number): number {
  let depth = 0;
  for (let at = from; at < body.length; at += 1) {
    const byte = body[at];
    if (byte === QUOTE) at = endOfString(body, at);
    else if (byte === OPEN) depth += 1;
    else if (byte === CLOSE) {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return -1;
}

/** Where the quote is that ends the string, or past the end. */
function endOfString(body: Buffer, from: number): number {
  let at = from + 1;
  while (at < body.length && body[at] !== QUOTE) at += body[at] === BACKSLASH ? 2 : 1;
  return at;
}

/**
 * The body of a review as JSON; undefined where it is none. A key such as `__proto__` is odd, but an object that has one
 * is still somebody's object, and is read as it stands: what is read is copied by own keys only (domain/unchecked.ts).
 *
 * Its managed fields may be read as if there were none: nobody here asks for them, and they are half of an ordinary
 * review, which takes far longer to parse than to pass over.
 */
export function parseReview(body: Buffer): unknown {
  return parse(withoutManagedFields(body)) ?? parse(body.toString());
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Whatever has this name: a quote within a string has a backslash before it, so these bytes are the end of a key and the
 * beginning of its value wherever they stand. The API server writes no white space; with some, all is parsed.
 */
const KEY = Buffer.from('"managedFields":[');
const CLOSE = ']'.charCodeAt(0);
/**
 * What follows the array. It proves that the bracket is no part of a string: behind a comma, this quote would have to be
 * the end of one, and no letter stands behind that.
 */
const NEXT_KEY = /^\]\}?,"[a-z]/i;

/**
 * Without what stands between such a beginning and the first bracket that closes, which is the end of the list, since
 * managed fields hold no other (ManagedFieldsEntry of meta/v1; the keys of FieldsV1 lead to objects). Where they do, more
 * is closed in the rest than was opened, so that it is no JSON, and all is parsed.
 */
function withoutManagedFields(body: Buffer): string {
  let text = '';
  let from = 0;
  for (;;) {
    const at = body.indexOf(KEY, from);
    const end = at < 0 ? -1 : body.indexOf(CLOSE, at);
    if (end < 0 || !NEXT_KEY.test(body.toString('latin1', end, end + 5))) break;
    text += body.toString('utf8', from, at + KEY.length);
    from = end;
  }
  return text + body.toString('utf8', from);
}

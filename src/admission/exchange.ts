import {
  constants,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Readable } from 'node:stream';
import type { HttpAnswer, HttpRequest } from './admission.ts';

/** One request and its answer, in HTTP/2 or HTTP/1.1. */
export type Exchange = Omit<HttpRequest, 'body'> & {
  body: Readable;
  /** Tells the other side to take its next request elsewhere, where the protocol says so in an answer. */
  answer(answer: HttpAnswer, isLast: boolean): void;
  /** Called once, however it ended. */
  onClose(done: () => void): void;
  cutOff(): void;
};

const TYPE = 'application/json; charset=utf-8';

export function exchangeOfStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Exchange {
  // Who leaves ends the stream with an error; it closes all the same.
  stream.on('error', ignore);
  stream.once('close', letGo);
  return {
    method: headers[':method'],
    path: headers[':path'],
    contentType: headers['content-type'],
    body: stream,
    answer({ status, body }) {
      // It ends, too, where the other side has left in the middle.
      if (stream.destroyed || stream.closed) return;
      const headers = { ':status': status, 'content-type': TYPE, 'content-length': Buffer.byteLength(body) };
      // There are none, but without this Node closes the stream before it has noted that the body was written, and makes
      // an error with its stack trace of it, for nobody.
      stream.respond(headers, { waitForTrailers: true });
      stream.end(body);
    },
    onClose: (done) => void stream.once('close', done),
    cutOff: () => stream.close(constants.NGHTTP2_CANCEL),
  };
}

let firstClosed: ServerHttp2Stream | undefined;

/**
 * Makes small what a closed stream leaves behind: its fields become those of the first one that closed, which answer what
 * it may yet be asked, that is, whether it is closed.
 *
 * Node's `this.onwrite = (er) => onwrite(stream, er)` assigns a function literal to a property, and V8 allocates such a
 * function in the old generation. So each stream lives on until the next collection of the whole heap, and all that it
 * refers to is moved to the old generation: ten such collections in 30,000 reviews, which are three with this.
 */
function letGo(this: ServerHttp2Stream): void {
  // That one stays for good: without its listeners, which hold its body.
  firstClosed ??= this.removeAllListeners().on('error', ignore);
  Object.assign(this, firstClosed);
}

/** Of HTTP/1.1, whatever its types are called. */
export function exchangeOfRequest(request: Http2ServerRequest, response: Http2ServerResponse): Exchange {
  request.on('error', ignore);
  return {
    method: request.method,
    path: request.url,
    contentType: request.headers['content-type'],
    body: request,
    answer({ status, body }, isLast) {
      response.writeHead(status, {
        ...{ 'content-type': TYPE, 'content-length': Buffer.byteLength(body) },
        ...(isLast ? { connection: 'close' } : {}),
      });
      response.end(body);
    },
    // Not of the request: that may be over long before its answer has left.
    onClose: (done) => void response.once('close', done),
    cutOff: () => request.socket.destroy(),
  };
}

/** The body as one piece, to `done`; undefined where it is longer than the limit. What is too long is read, and dropped. */
export function readBody(body: Readable, limit: number, done: (body: Buffer | undefined) => void): void {
  const parts: Buffer[] = [];
  let length = 0;
  body.on('data', (part: Buffer) => {
    length += part.length;
    if (length <= limit) parts.push(part);
    else parts.length = 0;
  });
  body.once('end', () => {
    const whole = parts.length === 1 ? parts[0] : Buffer.concat(parts);
    done(length > limit ? undefined : whole);
  });
}

function ignore(): void {}

import { connect } from 'node:net';
import { performance } from 'node:perf_hooks';

/** What came back on a connection that was not used as HTTP means it, until the other side closed it. */
export type Outcome = { text: string; seconds: number; closed: boolean };

type Part = string | Buffer;
export type Conversation = {
  /** Sent one after another; with `everyMs` between them. */
  parts: Part[];
  everyMs?: number;
  /** Closes our half when all is sent. */
  end?: boolean;
  giveUpMs?: number;
};

export function converse(port: number, talk: Conversation): Promise<Outcome> {
  const started = performance.now();
  const parts = [...talk.parts];
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    let text = '';
    const finish = (closed: boolean) => {
      clearTimeout(giveUp);
      clearInterval(timer);
      socket.destroy();
      resolve({ text, seconds: (performance.now() - started) / 1000, closed });
    };
    const giveUp = setTimeout(() => finish(false), talk.giveUpMs ?? 30_000);
    let timer: NodeJS.Timeout | undefined;
    const next = () => {
      const part = parts.shift();
      if (part !== undefined) socket.write(part);
      else if (talk.end) socket.end();
      else clearInterval(timer);
    };
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    // A reset is an end too: the other side no longer listens.
    socket.on('error', () => finish(true));
    socket.on('end', () => finish(true));
    socket.on('close', () => finish(true));
    socket.on('connect', () => {
      if (talk.everyMs !== undefined) timer = setInterval(next, talk.everyMs);
      else for (let left = parts.length + 1; left > 0; left -= 1) next();
    });
  });
}

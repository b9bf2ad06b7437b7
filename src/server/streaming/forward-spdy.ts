import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { Failure, textOf } from '../../errors/index.ts';
import type { Logger } from '../../log/index.ts';
import { SpdySession, type SpdyStream, WebSocketDuplex } from '../../streams/index.ts';
import { type Dial, forwardFailureText, join } from './forward.ts';
import type { ForwardRequest } from './types.ts';
import { type Upgraded, ended, upgradeToSpdy, upgradeToWebSocket } from './upgrade.ts';

const PROTOCOL = 'portforward.k8s.io';
/** kubectl's: the same SPDY, as binary messages of a WebSocket. */
export const TUNNEL_PROTOCOL = 'SPDY/3.1+portforward.k8s.io';

export function forwardOverSpdy(message: IncomingMessage, connection: Upgraded, request: ForwardRequest, dial: Dial, log: Logger): void {
  if (upgradeToSpdy(message, connection.socket, [PROTOCOL]) === undefined) return;
  serve(connection.socket, connection, request, dial, log);
}

export function forwardOverTunnel(message: IncomingMessage, connection: Upgraded, request: ForwardRequest, dial: Dial, log: Logger): void {
  if (upgradeToWebSocket(message, connection.socket, [TUNNEL_PROTOCOL]) === undefined) return;
  const tunnel = new WebSocketDuplex(connection.socket, 'server', connection.head);
  serve(tunnel, { ...connection, head: Buffer.alloc(0) }, request, dial, log);
}

/** A forwarded connection is a pair of streams [E70, E71]: its data, and a line about what went wrong. */
interface Pair {
  data?: SpdyStream;
  error?: SpdyStream;
  readonly timer: NodeJS.Timeout;
}

function serve(socket: Duplex, connection: Upgraded, request: ForwardRequest, dial: Dial, log: Logger): void {
  const pairs = new Map<string, Pair>();
  const session = new SpdySession(socket, {
    role: 'server',
    head: connection.head,
    onStream: (stream) => {
      try {
        accept(stream);
        return true;
      } catch (error) {
        log.debug(`Port forwarding to pod ${request.podId}: ${textOf(error)}`);
        return false;
      }
    },
  });
  const accept = (stream: SpdyStream): void => {
    const { type, id, port } = roleOf(stream);
    let pair = pairs.get(id);
    if (pair?.[type] !== undefined) throw new Failure('InvalidArgument', `request ${id} has a second ${type} stream`);
    if (pair === undefined) {
      const timer = setTimeout(
        () => session.destroy(new Failure('DeadlineExceeded', `timed out waiting for the streams of request ${id}`)),
        connection.creationTimeoutMs,
      );
      pairs.set(id, (pair = { timer }));
    }
    pair[type] = stream;
    const { data, error } = pair;
    if (data === undefined || error === undefined) return;
    clearTimeout(pair.timer);
    pairs.delete(id);
    void forward(request.podId, port, data, error, dial);
  };
  void session.closed.then((reason) => {
    for (const { timer } of pairs.values()) clearTimeout(timer);
    connection.ended(reason);
  });
}

function roleOf(stream: SpdyStream): { readonly type: 'data' | 'error'; readonly id: string; readonly port: number } {
  const { headers } = stream;
  const port = parsePort(headers.get('port') ?? '');
  const type = headers.get('streamtype') ?? '';
  if (type === '') throw new Failure('InvalidArgument', '"streamType" header is required');
  if (type !== 'data' && type !== 'error') throw new Failure('InvalidArgument', `invalid stream type "${type}"`);
  // Clients of old name no request: the data stream is the one behind its error stream.
  const id = headers.get('requestid') ?? String(type === 'error' ? stream.id : stream.id - 2);
  return { type, id, port };
}

function parsePort(text: string): number {
  if (text === '') throw new Failure('InvalidArgument', '"port" header is required');
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port <= 65535)) throw new Failure('InvalidArgument', `unable to parse "${text}" as a port: not a number of 16 bits`);
  if (port === 0) throw new Failure('InvalidArgument', `port "${text}" must be > 0`);
  return port;
}

async function forward(podId: string, port: number, data: SpdyStream, error: SpdyStream, dial: Dial): Promise<void> {
  error.resume();
  let server: Duplex;
  try {
    server = await dial(port);
  } catch (failure) {
    if (error.writable) error.write(forwardFailureText(podId, port, failure));
    await ended(error);
    data.destroy();
    error.destroy();
    return;
  }
  await join(data, server);
  await ended(error);
}

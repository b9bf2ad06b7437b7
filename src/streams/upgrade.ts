import type { Duplex } from 'node:stream';
import { Failure } from '../errors/index.ts';

const MAX_HEAD = 64 * 1024;
const MAX_BODY = 16 * 1024;

export interface UpgradeRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly host: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

export interface UpgradeAnswer {
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** Bytes of the new protocol that came with the answer. */
  readonly head: Buffer;
}

/**
 * Asks an HTTP/1.1 server to switch protocols, as its client. Fails with the server's own text when it answers anything but 101, and with
 * Unavailable when it hangs up.
 */
export async function requestUpgrade(connection: Duplex, request: UpgradeRequest): Promise<UpgradeAnswer> {
  const lines = request.headers.map(([name, value]) => `${name}: ${value}\r\n`);
  connection.write(`${request.method} ${request.path} HTTP/1.1\r\nHost: ${request.host}\r\nConnection: Upgrade\r\n${lines.join('')}\r\n`);
  const bytes = await readHead(connection);
  const end = bytes.indexOf('\r\n\r\n');
  const [first = '', ...rest] = bytes.toString('latin1', 0, end).split('\r\n');
  const headers = new Map(rest.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
  const head = bytes.subarray(end + 4);
  const [, status = '?', reason = ''] = /^HTTP\/1\.[01] (\d{3})(?: (.*))?$/.exec(first) ?? [];
  if (status === '101') return { headers, head };
  const text = (await readBody(connection, head)).trim();
  connection.destroy();
  throw new Failure('Unavailable', `the streaming server answered ${status} ${reason}${text === '' ? '' : `: ${text}`}`, {
    code: `HTTP_${status}`,
  });
}

/** Everything up to the end of the head, and what came with it. */
async function readHead(connection: Duplex): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  let bytes = Buffer.alloc(0);
  const onData = (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    if (bytes.includes('\r\n\r\n')) resolve(bytes);
    else if (bytes.length > MAX_HEAD) reject(new Failure('Unavailable', 'the streaming server sent an endless head'));
  };
  const onEnd = () => reject(new Failure('Unavailable', 'the streaming server hung up'));
  connection.on('data', onData);
  connection.once('close', onEnd);
  connection.once('end', onEnd);
  connection.once('error', reject);
  try {
    return await promise;
  } finally {
    connection.pause();
    connection.off('data', onData);
    connection.off('close', onEnd);
    connection.off('end', onEnd);
    connection.off('error', reject);
  }
}

async function readBody(connection: Duplex, first: Buffer): Promise<string> {
  const parts = [first];
  let length = first.length;
  for await (const chunk of connection) {
    parts.push(chunk as Buffer);
    if ((length += (chunk as Buffer).length) > MAX_BODY) break;
  }
  return Buffer.concat(parts).toString('utf8');
}

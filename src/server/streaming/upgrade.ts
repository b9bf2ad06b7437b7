import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex, Writable } from 'node:stream';

/** A connection whose client has asked for another protocol. */
export interface Upgraded {
  readonly socket: Duplex;
  /** Bytes behind the request. */
  readonly head: Buffer;
  /** A client that has not created its streams by then is let go [E32]. */
  readonly creationTimeoutMs: number;
  /** Told once, when it has closed; with the reason if that was not orderly. */
  readonly ended: (error: Error | undefined) => void;
}

const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** All values of a header that is a list, over all its lines. */
function listHeader(request: IncomingMessage, name: string): string[] {
  const lines = request.headersDistinct[name] ?? [];
  return lines
    .flatMap((line) => line.split(','))
    .map((word) => word.trim())
    .filter((word) => word !== '');
}

export function wants(request: IncomingMessage, protocol: string): boolean {
  const has = (name: string, word: string) => listHeader(request, name).some((value) => value.toLowerCase() === word);
  return has('connection', 'upgrade') && has('upgrade', protocol);
}

/** Answers that the connection speaks another protocol from here on. */
function switchProtocol(socket: Duplex, headers: Readonly<Record<string, string>>): void {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n${lines.join('')}\r\n`);
}

/** An answer instead of the upgrade, and the end of the connection. */
export function refuse(socket: Duplex, status: number, reason: string, text: string, headers: Readonly<Record<string, string>> = {}): void {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const body = Buffer.from(`${text}\n`);
  socket.on('error', () => {});
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${body.length}\r\n${lines.join('')}\r\n${body.toString('utf8')}`,
  );
}

/** The proof of RFC 6455 §4.2.2 that a server has understood. */
function acceptKey(key: string): string {
  return createHash('sha1').update(`${key}${WEBSOCKET_GUID}`).digest('base64');
}

/**
 * Negotiates as Kubernetes does over SPDY [E39]: answers the chosen protocol, or undefined after a refusal.
 */
export function upgradeToSpdy(message: IncomingMessage, socket: Duplex, supported: readonly string[]): string | undefined {
  const name = 'X-Stream-Protocol-Version';
  const asked = listHeader(message, name.toLowerCase());
  if (asked.length === 0) {
    const count = Object.keys(message.headersDistinct).length;
    refuse(socket, 400, 'Bad Request', `unable to upgrade: header ${name} does not exist in request with ${count} headers`);
    return undefined;
  }
  const chosen = asked.find((protocol) => supported.includes(protocol));
  if (chosen === undefined) {
    const text = `unable to upgrade: unable to negotiate protocol: client supports [${asked.join(' ')}], server accepts [${supported.join(' ')}]`;
    refuse(socket, 403, 'Forbidden', text, { 'X-Accepted-Stream-Protocol-Versions': supported.join(',') });
    return undefined;
  }
  switchProtocol(socket, { Upgrade: 'SPDY/3.1', [name]: chosen });
  return chosen;
}

/**
 * Negotiates the subprotocol of a WebSocket: the first of the client's that is supported, '' where it names none and that is. Answers
 * undefined after a refusal.
 */
export function upgradeToWebSocket(message: IncomingMessage, socket: Duplex, supported: readonly string[]): string | undefined {
  const [key] = message.headersDistinct['sec-websocket-key'] ?? [];
  const [version] = message.headersDistinct['sec-websocket-version'] ?? [];
  if (message.method !== 'GET' || key === undefined || !/^[A-Za-z0-9+/]{22}==$/.test(key)) {
    refuse(socket, 400, 'Bad Request', 'unable to upgrade: not a WebSocket handshake');
    return undefined;
  }
  if (version !== '13') {
    refuse(socket, 426, 'Upgrade Required', `unable to upgrade: WebSocket version ${version ?? '(none)'}`, {
      'Sec-WebSocket-Version': '13',
    });
    return undefined;
  }
  const asked = listHeader(message, 'sec-websocket-protocol');
  const chosen = (asked.length === 0 ? [''] : asked).find((protocol) => supported.includes(protocol));
  if (chosen === undefined) {
    const offers = supported.filter((protocol) => protocol !== '').join(' ');
    refuse(socket, 403, 'Forbidden', `unable to upgrade: requested protocols [${asked.join(' ')}], server accepts [${offers}]`);
    return undefined;
  }
  const named = chosen === '' ? {} : { 'Sec-WebSocket-Protocol': chosen };
  switchProtocol(socket, { Upgrade: 'websocket', 'Sec-WebSocket-Accept': acceptKey(key), ...named });
  return chosen;
}

/** Ends a stream's writing side; settles when all of it has been handed to the kernel, or never will be. */
export async function ended(stream: Writable | undefined): Promise<void> {
  if (stream === undefined || stream.destroyed || stream.writableFinished) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.once('finish', resolve);
  stream.once('close', resolve);
  stream.end();
  await promise;
}

import { once } from 'node:events';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { Failure, codeOf, textOf } from '../../errors/index.ts';

/** Where a runtime sends a client: a server that listens on all addresses names none, and is on this machine. */
export function streamingUrl(text: string): URL {
  const url = URL.parse(text.replace(/^(https?:\/\/)(?=:)/, '$1127.0.0.1'));
  if (url === null || !['http:', 'https:'].includes(url.protocol)) {
    throw new Failure('Unavailable', `the runtime sent a URL that is none: ${JSON.stringify(text)}`);
  }
  if (['0.0.0.0', '[::]'].includes(url.hostname)) url.hostname = '127.0.0.1';
  return url;
}

/** Connects to the streaming server of a runtime. Its certificate is not looked at: the runtime's socket said where it is. */
export async function dialStreaming(url: URL): Promise<Duplex> {
  const host = url.hostname.replaceAll(/[[\]]/g, '');
  const tls = url.protocol === 'https:';
  const port = Number(url.port === '' ? (tls ? 443 : 80) : url.port);
  const options = { host, port, allowHalfOpen: true, noDelay: true };
  const socket = tls ? (await import('node:tls')).connect({ ...options, rejectUnauthorized: false }) : connect(options);
  try {
    await once(socket, tls ? 'secureConnect' : 'connect');
  } catch (error) {
    throw new Failure('Unavailable', `cannot connect to the streaming server ${url.host}: ${codeOf(error) ?? textOf(error)}`, {
      cause: error,
      advice: 'The runtime listens for streams at stream_address and stream_port of crio.conf: run this command on the node, or set them.',
    });
  }
  return socket;
}

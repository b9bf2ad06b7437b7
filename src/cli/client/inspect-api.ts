/** Asks the daemon's inspect API: HTTP/1 on the CRI socket [A187–A193]. */
import { type IncomingMessage, get } from 'node:http';
import { text } from 'node:stream/consumers';
import { Failure, codeOf, textOf } from '../../errors/index.ts';

const DIAL_TIMEOUT_MS = 32_000;

const ERRNO_TEXTS: Readonly<Record<string, string>> = {
  ENOENT: 'connect: no such file or directory',
  ECONNREFUSED: 'connect: connection refused',
  EACCES: 'connect: permission denied',
};

/** The body of `path`. Failure: with CRI-O's text where nobody listens [A189], with the daemon's where it refuses. */
export async function inspectDaemon(socket: string, path: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  get({ socketPath: socket, path, agent: false, timeout: DIAL_TIMEOUT_MS }, resolve).once('error', reject);
  try {
    const response = await promise;
    const body = await text(response);
    if (response.statusCode === 200) return body;
    throw new Failure(response.statusCode === 404 ? 'NotFound' : 'Unknown', body.trim());
  } catch (error) {
    if (error instanceof Failure) throw error;
    const why = ERRNO_TEXTS[codeOf(error) ?? ''] ?? textOf(error);
    throw new Failure('Unavailable', `do get request: Get "http://${encodeURIComponent(socket)}${path}": dial unix ${socket}: ${why}`, {
      cause: error,
      advice: 'Start the daemon (systemctl start crio, or crio as root), or name its socket with --socket.',
    });
  }
}

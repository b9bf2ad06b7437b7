import type { IncomingMessage } from 'node:http';
import { Channels } from './channels.ts';
import { WindowSizes } from './sizes.ts';
import { statusText } from './status.ts';
import type { CommandRequest, CommandSession } from './types.ts';
import { type Upgraded, ended, upgradeToWebSocket } from './upgrade.ts';

/** [E42], and version 5 */
const PROTOCOLS: ReadonlyMap<string, { readonly version: number; readonly base64: boolean }> = new Map([
  ['', { version: 1, base64: false }],
  ['channel.k8s.io', { version: 1, base64: false }],
  ['base64.channel.k8s.io', { version: 1, base64: true }],
  ['v4.channel.k8s.io', { version: 4, base64: false }],
  ['v4.base64.channel.k8s.io', { version: 4, base64: true }],
  ['v5.channel.k8s.io', { version: 5, base64: false }],
]);
const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;
const FIRST_WITH_CLOSE = 5;

/** Upgrades to a WebSocket [E42, E43]; undefined if the upgrade was refused. Version 4 cannot end its input without closing. */
export function commandOverWebSocket(message: IncomingMessage, connection: Upgraded, request: CommandRequest): CommandSession | undefined {
  const protocol = upgradeToWebSocket(message, connection.socket, [...PROTOCOLS.keys()]);
  if (protocol === undefined) return undefined;
  const { version, base64 } = PROTOCOLS.get(protocol) ?? { version: 1, base64: false };
  const channels = new Channels(connection, { base64, closable: version >= FIRST_WITH_CLOSE });
  const sizes = new WindowSizes();
  channels.on(CHANNEL.resize, {
    receive: (bytes) => {
      sizes.receive(bytes);
      return true;
    },
    end: () => {},
  });
  const stdin = request.stdin ? channels.readable(CHANNEL.stdin) : undefined;
  const stdout = request.stdout ? channels.writable(CHANNEL.stdout) : undefined;
  const stderr = request.stderr ? channels.writable(CHANNEL.stderr) : undefined;
  const error = channels.writable(CHANNEL.error);
  const gone = new AbortController();
  void channels.socket.closed.then(() => {
    gone.abort();
    for (const stream of [stdout, stderr, error]) stream?.destroy();
  });
  // An empty message on the first channel that we write tells the client that it is connected.
  channels.send(request.stdout ? CHANNEL.stdout : request.stderr ? CHANNEL.stderr : CHANNEL.error, Buffer.alloc(0));
  return {
    streams: { stdin, stdout, stderr, onResize: sizes.onResize, gone: gone.signal },
    async finish(outcome) {
      await Promise.all([ended(stdout), ended(stderr)]);
      const text = statusText(outcome, version);
      if (text !== '') error.write(text);
      await ended(error);
      channels.socket.close();
    },
  };
}

import type { IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { Channels } from './channels.ts';
import { type Dial, forwardFailureText, join } from './forward.ts';
import type { ForwardRequest } from './types.ts';
import { type Upgraded, upgradeToWebSocket } from './upgrade.ts';

/** [E73] */
const PROTOCOLS = ['', 'v4.channel.k8s.io', 'v4.base64.channel.k8s.io'];

/** Ports of the request as channels of a WebSocket: 2i for data, 2i+1 for an error; each begins with its port, two bytes, little end first. */
export function forwardOverWebSocket(message: IncomingMessage, connection: Upgraded, request: ForwardRequest, dial: Dial): void {
  const protocol = upgradeToWebSocket(message, connection.socket, PROTOCOLS);
  if (protocol === undefined) return;
  const channels = new Channels(connection, { base64: protocol.includes('base64'), closable: false });
  const all = request.ports.map(async (port, index) => {
    const [data, error] = [2 * index, 2 * index + 1];
    const name = Buffer.alloc(2);
    name.writeUInt16LE(port);
    const client = duplexOf(channels, data);
    channels.send(data, name);
    channels.send(error, name);
    try {
      await join(client, await dial(port));
    } catch (failure) {
      channels.send(error, Buffer.from(forwardFailureText(request.podId, port, failure)));
    }
  });
  void Promise.all(all).then(() => channels.socket.close());
}

function duplexOf(channels: Channels, channel: number): Duplex {
  const stream = new Duplex({
    read: () => channels.socket.resume(),
    write: (chunk: Buffer, _, done) => channels.send(channel, chunk, done),
  });
  stream.on('error', () => {}); // The connection has gone.
  channels.on(channel, { receive: (bytes) => stream.push(bytes), end: () => void stream.push(null) });
  void channels.socket.closed.then(() => stream.destroy());
  return stream;
}

import type { Duplex } from 'node:stream';
import { textOf } from '../../errors/index.ts';
import { Copy } from '../../streams/index.ts';

/** Dials a port of the pod. The failure's text is what the client is told [E72]. */
export type Dial = (port: number) => Promise<Duplex>;

/** Both ways, each side's end passed on when it comes; settles when both have ended. */
export async function join(client: Duplex, server: Duplex): Promise<void> {
  const there = new Copy(client, server, { onBroken: 'close' });
  const back = new Copy(server, client, { onBroken: 'close' });
  server.on('error', () => {}); // It ends, which is told.
  void there.done.then(() => (client.destroyed && !client.readableEnded ? server.destroy() : server.end()));
  await Promise.all([there.done, back.done.then(() => client.end())]);
  server.destroy();
}

export function forwardFailureText(podId: string, port: number, error: unknown): string {
  return `error forwarding port ${port} to pod ${podId}, uid : ${textOf(error)}`;
}

import { Socket } from 'node:net';
import { Failure, textOf } from '../errors/index.ts';
import type { PodContext } from './context.ts';
import type { Sandbox } from './sandbox.ts';

/** As `localhost` is looked up: tried one after the other [E67]. */
const LOOPBACK = [
  { host: '127.0.0.1', family: 4 },
  { host: '::1', family: 6 },
] as const;
const CONNECT_TIMEOUT_MS = 30_000;

/**
 * A connection to a port on the loopback addresses of the pod's network namespace [E66, E67]: the socket is made in there by a thread that
 * goes in and comes back, and connected from here. Fails with the reasons that a client of port-forward is told.
 */
export async function dialPod(ctx: PodContext, podId: string, port: number): Promise<Socket> {
  const sandbox = ctx.registry.find(podId);
  if (sandbox.stopped) throw new Failure('FailedPrecondition', `sandbox ${sandbox.id} is not running`);
  const netns = sandbox.facts.pins.net;
  let last: unknown;
  for (const { host, family } of LOOPBACK) {
    try {
      return await connectIn(ctx, netns, host, family, port);
    } catch (error) {
      last = error;
    }
  }
  throw new Failure('Unavailable', failureText(sandbox, netns, port, last), { cause: last });
}

async function connectIn(ctx: PodContext, netns: string | undefined, host: string, family: 4 | 6, port: number): Promise<Socket> {
  const socket = await socketIn(ctx, netns, family);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Failure('DeadlineExceeded', `connect ${host}:${port}: no answer`)), CONNECT_TIMEOUT_MS);
  socket.once('error', reject);
  socket.once('connect', resolve);
  socket.connect({ host, port });
  try {
    await promise;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    socket.off('error', reject);
    socket.on('error', () => {}); // It ends, which is told by its end.
  }
  socket.setNoDelay(true);
  return socket;
}

/** A pod without a namespace of its own is in the node's [E69]. */
async function socketIn(ctx: PodContext, netns: string | undefined, family: 4 | 6): Promise<Socket> {
  if (netns === undefined) return new Socket({ allowHalfOpen: true });
  using fd = await ctx.namespaces.tcpSocket({ netns, family });
  return new Socket({ fd: fd.take(), allowHalfOpen: true, manualStart: true } as { fd: number; allowHalfOpen: boolean });
}

function failureText({ id }: Sandbox, netns: string | undefined, port: number, error: unknown): string {
  return `port forward into network namespace "${netns ?? 'host'}": failed to connect to localhost:${port} inside namespace ${id}: ${textOf(error)}`;
}

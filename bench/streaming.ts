import { type Readable, duplexPair } from 'node:stream';
import { ForwardingSession } from '../src/cli/streaming/index.ts';
import { connectTo, openExec } from '../test/harness/streaming.ts';
import { loopDelay } from './loop-delay.ts';
import type { Peer } from './peers.ts';
import { type Bench, type Pod, down, listening, timed, up } from './work.ts';

const BYTES = 256 * 1024 * 1024;
const STREAMS = 100;
const STREAM_BYTES = 100_000;
/** Zeros without end for whoever connects. */
const SERVER = ['sh', '-c', 'trap "exit 0" TERM; nc -ll -p 8 -e cat /dev/zero & wait'];

export const streamingBenches: readonly Bench[] = [
  {
    figures: ['exec_first_byte', 'exec_throughput_s', 'forward_throughput_s'],
    rounds: 7,
    async round(peer, samples) {
      const pod = await listening(peer, await up(peer, 'streams', 'runc', SERVER));
      for (let n = 0; n < 3; n++) await timed(samples, 'exec_first_byte', peer, () => firstByte(peer, pod));
      await timed(samples, 'exec_throughput_s', peer, () => execBytes(peer, pod));
      await timed(samples, 'forward_throughput_s', peer, () => forwardBytes(peer, pod));
      await down(peer, pod);
    },
  },
  {
    figures: ['exec_100_s', 'exec_100_loop_p99'],
    rounds: 3,
    async round(peer, samples) {
      const pod = await listening(peer, await up(peer, 'hundred', 'crun'));
      await loopDelay(peer);
      await timed(samples, 'exec_100_s', peer, () => Promise.all(Array.from({ length: STREAMS }, () => smallStream(peer, pod))));
      const p99 = await loopDelay(peer);
      if (p99 !== undefined) samples.add('exec_100_loop_p99', peer.name, p99);
      await down(peer, pod);
    },
  },
];

async function firstByte(peer: Peer, { containerId }: Pod): Promise<void> {
  const command = await openExec(peer, 'spdy', { containerId, cmd: ['echo', 'first'] });
  await read(command.stdout, 1);
  command.close();
}

async function execBytes(peer: Peer, { containerId }: Pod): Promise<void> {
  const command = await openExec(peer, 'spdy', { containerId, cmd: ['head', '-c', String(BYTES), '/dev/zero'] });
  await read(command.stdout, BYTES);
  command.close();
}

async function smallStream(peer: Peer, { containerId }: Pod): Promise<void> {
  const script = `for i in 1 2 3 4 5 6 7 8 9 10; do head -c ${STREAM_BYTES / 10} /dev/zero; sleep 0.1; done`;
  const command = await openExec(peer, 'spdy', { containerId, cmd: ['sh', '-c', script] });
  await read(command.stdout, STREAM_BYTES);
  command.close();
}

async function forwardBytes(peer: Peer, { podSandboxId }: Pod): Promise<void> {
  const { url } = await peer.client.PortForward({ podSandboxId, port: [8] });
  const session = await ForwardingSession.open(await connectTo(peer, url), new URL(url));
  const [ours, theirs] = duplexPair();
  void session.forward(theirs, 8);
  await read(ours, BYTES);
  session.close();
}

async function read(stream: Readable | undefined, bytes: number): Promise<void> {
  let seen = 0;
  for await (const chunk of stream ?? []) if ((seen += (chunk as Buffer).length) >= bytes) return;
  throw new Error(`the stream ended after ${seen} of ${bytes} bytes`);
}

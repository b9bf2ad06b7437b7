// npm run bench [-- --only FIGURE[,FIGURE…]] [--runs N] [--peers ours,containerd]: the same work on our daemon and on
// Debian's containerd, in alternation. Prints medians and ratios; writes them with every sample to bench/latest.json.
import { writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { ImageName } from '../test/harness/images.ts';
import { projectRoot } from '../test/harness/tools.ts';
import { BENCHES } from './figures.ts';
import { type Peer, startContainerd, startOurs } from './peers.ts';
import { Samples } from './samples.ts';
import { type Bench, type Sink, WORKLOAD_IMAGE, pull } from './work.ts';

const STARTERS = { ours: startOurs, containerd: startContainerd };

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { only: { type: 'string' }, runs: { type: 'string' }, peers: { type: 'string', default: 'ours,containerd' } },
  });
  const only = values.only?.split(',');
  const benches = BENCHES.filter((bench) => only === undefined || bench.figures.some((figure) => only.includes(figure)));
  if (benches.length === 0)
    throw new Error(`no such figure: ${values.only ?? ''}; there are ${BENCHES.flatMap((bench) => bench.figures).join(', ')}`);
  const images: ImageName[] = ['busybox', ...new Set(benches.flatMap((bench) => bench.images ?? []))];
  const peers: Peer[] = [];
  const samples = new Samples();
  try {
    for (const name of values.peers.split(',')) {
      if (!Object.hasOwn(STARTERS, name)) throw new Error(`no such peer: ${name}; there are ${Object.keys(STARTERS).join(', ')}`);
      const peer = await STARTERS[name as keyof typeof STARTERS](images);
      peers.push(peer);
      await pull(peer, WORKLOAD_IMAGE);
    }
    for (const bench of benches) {
      const rounds = values.runs === undefined ? bench.rounds : Number(values.runs);
      console.error(`${bench.figures.join(', ')}: ${rounds} rounds`);
      await run(bench, rounds, peers, samples);
    }
    const result = { figures: samples.medians(), ratios: samples.ratios(), samples: samples.raw(), versions: await versions(peers) };
    writeFileSync(join(projectRoot, 'bench/latest.json'), `${JSON.stringify(result, null, 2)}\n`);
    print(samples);
  } finally {
    for (const peer of peers) await peer.end();
  }
}

/** Whoever goes first in one round goes last in the next; the first round warms up. */
async function run(bench: Bench, rounds: number, peers: readonly Peer[], samples: Samples): Promise<void> {
  const rivals = [];
  try {
    for (const rival of bench.rivals ?? []) rivals.push(await rival.start());
    const turns = [
      ...peers.map((peer) => (sink: Sink) => bench.round(peer, sink)),
      ...rivals.map((rival) => (sink: Sink) => rival.round(sink)),
    ];
    for (let round = 0; round <= rounds; round++) {
      for (const turn of round % 2 === 0 ? turns : turns.toReversed()) await turn(round === 0 ? { add: () => {} } : samples);
    }
  } finally {
    for (const rival of rivals) await rival.end();
  }
}

function print(samples: Samples): void {
  const ratios = samples.ratios();
  console.log(`${'figure'.padEnd(20)}${'ours'.padStart(12)}   others, and ours divided by theirs`);
  for (const [figure, { ours, ...others }] of Object.entries(samples.medians())) {
    const compared = Object.entries(others).map(([peer, value]) => {
      const ratio = ratios[figure]?.[peer];
      return `${peer} ${show(figure, value)}${ratio === undefined ? '' : ` (${ratio.toFixed(2)})`}`;
    });
    console.log(`${figure.padEnd(20)}${show(figure, ours).padStart(12)}   ${compared.join(', ')}`);
  }
}

function show(figure: string, value: number | undefined): string {
  if (value === undefined) return '';
  if (/_(pss|anon)$/.test(figure)) return `${(value / 1024 / 1024).toFixed(2)} MiB`;
  return value < 1 ? `${(value * 1000).toFixed(1)} ms` : `${value.toFixed(2)} s`;
}

async function versions(peers: readonly Peer[]): Promise<Record<string, string>> {
  const found: Record<string, string> = { kernel: release(), node: process.version };
  for (const { name, client, machine } of peers) {
    const { runtimeName, runtimeVersion } = await client.Version();
    found[name] = `${runtimeName} ${runtimeVersion}`;
    for (const [program, ...args] of [
      ['runc', '--version'],
      ['crun', '--version'],
      ['conmon', '--version'],
      ['dpkg-query', '-Wf', '${Version}', 'containernetworking-plugins'],
    ] as const) {
      const { stdout } = await machine.exec([program, ...args]);
      found[args.at(-1) === '--version' ? program : 'containernetworking-plugins'] = stdout.toString('utf8').split('\n')[0] ?? '';
    }
  }
  return found;
}

await main();

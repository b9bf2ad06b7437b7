// npm run bench [-- --only FIGURE[,FIGURE…]] [--runs N] [--peers ours,containerd]: the same work on our daemon and on
// Debian's containerd, in alternation. Prints medians and ratios; writes them with every sample to bench/latest.json.
import { writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { projectRoot } from '../test/harness/tools.ts';
import { BENCHES } from './figures.ts';
import { type Peer, startContainerd, startOurs } from './peers.ts';
import { Samples } from './samples.ts';
import { LAYERED_IMAGE, WORKLOAD_IMAGE, pull } from './work.ts';

const STARTERS = { ours: startOurs, containerd: startContainerd };

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { only: { type: 'string' }, runs: { type: 'string' }, peers: { type: 'string', default: 'ours,containerd' } },
  });
  const only = values.only?.split(',');
  const benches = BENCHES.filter((bench) => only === undefined || bench.figures.some((figure) => only.includes(figure)));
  if (benches.length === 0)
    throw new Error(`no such figure: ${values.only ?? ''}; there are ${BENCHES.flatMap((bench) => bench.figures).join(', ')}`);
  const peers: Peer[] = [];
  const samples = new Samples();
  try {
    for (const name of values.peers.split(',')) {
      if (!Object.hasOwn(STARTERS, name)) throw new Error(`no such peer: ${name}; there are ${Object.keys(STARTERS).join(', ')}`);
      const peer = await STARTERS[name as keyof typeof STARTERS]();
      peers.push(peer);
      for (const image of [WORKLOAD_IMAGE, LAYERED_IMAGE]) await pull(peer, image);
    }
    for (const bench of benches) {
      const rounds = values.runs === undefined ? bench.rounds : Number(values.runs);
      console.error(`${bench.figures.join(', ')}: ${rounds} rounds`);
      for (let round = 0; round <= rounds; round++) {
        // Whoever goes first in one round goes last in the next; the first round warms up.
        for (const peer of round % 2 === 0 ? peers : peers.toReversed()) await bench.round(peer, round === 0 ? { add: () => {} } : samples);
      }
    }
    const result = { figures: samples.medians(), ratios: samples.ratios(), samples: samples.raw(), versions: await versions(peers) };
    writeFileSync(join(projectRoot, 'bench/latest.json'), `${JSON.stringify(result, null, 2)}\n`);
    print(samples, only);
  } finally {
    for (const peer of peers) await peer.end();
  }
}

function print(samples: Samples, only: readonly string[] | undefined): void {
  const ratios = samples.ratios();
  console.log(`${'figure'.padEnd(20)}${'ours'.padStart(12)}${'containerd'.padStart(12)}${'ratio'.padStart(8)}`);
  for (const [figure, { ours, containerd }] of Object.entries(samples.medians())) {
    if (only !== undefined && !only.includes(figure)) continue;
    const ratio = ratios[figure]?.['containerd'];
    console.log(
      figure.padEnd(20) + show(figure, ours).padStart(12) + show(figure, containerd).padStart(12) + (ratio?.toFixed(2) ?? '').padStart(8),
    );
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

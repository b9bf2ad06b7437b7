import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../../errors/index.ts';
import type { HexId } from '../../ids/index.ts';
import { type DiskUse, SHARES, type Share, diskUse } from '../../storage/index.ts';
import { defineCommand } from '../arguments.ts';
import { EXIT } from '../command.ts';
import { formatOf, formatSize, outputOption, shortId, writeData, writeTable } from '../render/index.ts';
import { storeOf } from '../store.ts';

export const df = defineCommand({
  words: '',
  count: [0, 0],
  options: {
    verbose: { type: 'boolean', short: 'v', help: 'Every image, container and artifact by itself.' },
    ...outputOption,
  },
  details: `Reads the storage directory that files, flags and environment name; needs root, but no daemon. Layers that images share count once in
the sums. RECLAIMABLE is what goes when everything that nobody uses is removed. Images have the size that \`crio images\` shows, of their
archives; the second table has what the disk gives, every byte of it.

  crio df
  crio df -v`,
  async run({ values }, context) {
    const format = formatOf(values.output);
    const { root, open } = storeOf(context);
    // Opening would make one, where somebody mistyped its name.
    if (!existsSync(root))
      throw new Failure('NotFound', `there is no storage directory ${root}`, { advice: 'Name it with crio --root DIR df.' });
    const store = await open();
    try {
      const use = await diskUse(store, (layer) => isMounted(root, layer));
      const { out } = context.terminal;
      if (format !== 'table') writeData(out, format, plain(use));
      else if (values.verbose) writeAll(out, use);
      else {
        writeTable(out, ['TYPE', 'TOTAL', 'ACTIVE', 'SIZE', 'RECLAIMABLE'], summary(use));
        out.line('');
        writeTable(out, ['ON THE DISK', 'SIZE'], onDisk(use));
      }
    } finally {
      await store.close();
    }
    return EXIT.ok;
  },
});

const sum = (items: readonly { readonly size: bigint }[]) => items.reduce((total, { size }) => total + size, 0n);

function summary(use: DiskUse): string[][] {
  const row = (type: string, total: number, active: number | undefined, size: bigint, free: bigint) => [
    type,
    String(total),
    active === undefined ? '' : String(active),
    formatSize(size),
    formatSize(free),
  ];
  const idle = use.containers.filter((container) => !container.isMounted);
  return [
    row('Images', use.images.length, use.images.filter(({ containers }) => containers > 0).length, use.imageBytes, use.unusedImageBytes),
    row('Containers', use.containers.length, use.containers.length - idle.length, sum(use.containers), sum(idle)),
    row('Artifacts', use.artifacts.length, undefined, sum(use.artifacts), sum(use.artifacts)),
    row('Layers of nobody', use.orphans.length, undefined, sum(use.orphans), sum(use.orphans)),
  ];
}

const WORDS = {
  images: 'Layers of images',
  containers: 'Containers: writable layers and directories',
  artifacts: 'Artifacts',
  unneeded: 'Layers that nothing needs',
  staged: 'Being made or removed',
  records: 'Records, archives’ headers, manifests and configs',
  reserve: 'Kept for removals on a full disk',
  unknown: 'Unknown to all records: the next start removes it',
  other: 'Other files in the storage directory',
} as const satisfies Record<Share, string>;

/** Every byte, by what it is for; what there is none of is left out. */
function onDisk({ onDisk: bytes }: DiskUse): string[][] {
  const there = SHARES.filter((share) => bytes[share] > 0n).map((share) => [WORDS[share], formatSize(bytes[share])]);
  const total = SHARES.reduce((all, share) => all + bytes[share], 0n);
  return [...there, ['Total', formatSize(total)]];
}

function writeAll(out: Parameters<typeof writeTable>[0], use: DiskUse): void {
  const images = use.images.map(({ id, names, size, shared, containers }) => [
    names[0] ?? '<none>',
    shortId(id),
    formatSize(size),
    formatSize(shared),
    formatSize(size - shared),
    String(containers),
  ]);
  writeTable(out, ['IMAGE', 'IMAGE ID', 'SIZE', 'SHARED', 'UNIQUE', 'CONTAINERS'], images);
  out.line('');
  const containers = use.containers.map(({ id, name, isMounted: mounted, size }) => [
    name,
    shortId(id),
    formatSize(size),
    mounted ? 'yes' : '',
  ]);
  writeTable(out, ['CONTAINER', 'CONTAINER ID', 'SIZE', 'MOUNTED'], containers);
  if (use.artifacts.length > 0) {
    out.line('');
    writeTable(
      out,
      ['ARTIFACT', 'SIZE'],
      use.artifacts.map(({ name, size }) => [name, formatSize(size)]),
    );
  }
  if (use.orphans.length > 0) {
    out.line('');
    writeTable(
      out,
      ['LAYER OF NOBODY', 'SIZE'],
      use.orphans.map(({ id, size }) => [id, formatSize(size)]),
    );
  }
}

function plain(use: DiskUse): never {
  return JSON.parse(JSON.stringify(use, (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value))) as never;
}

function isMounted(root: string, layer: HexId): boolean {
  const at = (name: string) => statSync(join(root, 'overlay', layer, name), { throwIfNoEntry: false })?.dev;
  return at('merged') !== undefined && at('merged') !== at('.');
}

// driver.ts NAME: one scenario with the store's driver on the machine it runs on; asserts, and exits 0 or not.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readMountsSync } from '../../../src/linux/index.ts';
import { xfsDisk } from '../../harness/vm/index.ts';
import { G, makeContainer, makeImage, openStore } from './fixture.ts';

/** A layer that has as many below it as there may be carries no other. */
async function depth(): Promise<void> {
  const store = await openStore();
  const image = await makeImage(store, 'example.com/a:1', 2);
  const lower = join(G, 'overlay', image.layer ?? '', 'lower');
  const below = readFileSync(lower, 'utf8');
  const records = join(G, 'overlay-layers/layers.json');
  const known = JSON.parse(readFileSync(records, 'utf8')) as { id: string; parent?: string }[];
  const grown = async (layers: number) => {
    const more = Array.from({ length: layers - 1 }, (_, at) => ({ id: at.toString(16).padStart(64, '0') }));
    const chain = [...known, ...more].map((record, at, all) => ({
      ...record,
      parent: at === 1 ? known[0]?.id : all[at === 0 ? 2 : at + 1]?.id,
    }));
    writeFileSync(records, JSON.stringify(chain));
    writeFileSync(lower, Array.from({ length: layers }, () => below).join(':'));
    const other = await openStore();
    try {
      return await makeContainer(other, image, `k8s_deep_${layers}`);
    } finally {
      await other.close();
    }
  };
  assert.equal((await grown(499)).image, image.id);
  await assert.rejects(grown(500), { message: 'max depth exceeded' });
  await store.close();
}

/** An overlay cannot be the upper of another: the machine's /etc is one. */
async function backing(): Promise<void> {
  await assert.rejects(openStore('/etc/storage'), {
    message:
      "opening storage /etc/storage: 'overlay' is not supported over overlayfs, a mount_program is required: backing file system is unsupported for this graph driver",
  });
}

/** The home is mounted on itself, and what is mounted below reaches nobody else, though the machine shares its mounts. */
async function home(): Promise<void> {
  execFileSync('mount', ['--make-rshared', '/']);
  const skipped = await openStore('/var/lib/containers/skipped', { skipMountHome: true });
  await skipped.close();
  await (await openStore()).close();
  const mounts = readMountsSync().filter(({ mountPoint }) => mountPoint.endsWith('/overlay'));
  assert.deepEqual(
    mounts.map(({ mountPoint }) => mountPoint),
    [`${G}/overlay`],
  );
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((text) => text.includes(` ${G}/overlay `));
  assert.doesNotMatch(line ?? '', /shared:|master:/);
  assert.match(readFileSync('/proc/self/mountinfo', 'utf8'), / \/ .* shared:/, 'the root is shared');
}

/** The machine's /var/lib/containers is on ext4; and an XFS of this kernel counts no projects unless it is mounted so, if it can at all. */
async function quotas(): Promise<void> {
  const limits = { bytes: 8n * 1024n ** 2n, inodes: 0n };
  await assert.rejects(openStore(G, { limits }), {
    message: `opening storage ${G}: storage option overlay.size and overlay.inodes only supported for backingFS XFS. Found extfs`,
  });
  const root = '/run/xfs/storage';
  await xfsDisk('/var/lib/xfs.img');
  execFileSync('mkdir', ['/run/xfs']);
  execFileSync('mount', ['-o', 'loop', '/var/lib/xfs.img', '/run/xfs']);
  await assert.rejects(
    openStore(root, { limits }),
    /: storage options overlay\.size and overlay\.inodes not supported\. Filesystem does not support Project Quota: failed to set quota limit for projid \d+ on \/run\/xfs\/storage\/overlay: quotactl .*: (function not implemented|no such process)$/,
  );
  await (await openStore(root)).close();
}

const scenarios = { depth, backing, home, quotas };
const [name = ''] = process.argv.slice(2);
if (!Object.hasOwn(scenarios, name)) throw new Error(`no scenario ${name}`);
await scenarios[name as keyof typeof scenarios]();

import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { after, before, test } from 'node:test';
import { runOk } from '../../src/process/index.ts';
import { Machine } from '../harness/machine.ts';
import { newerDebianOn } from '../harness/newer-debian.ts';
import { projectRoot, toolPath } from '../harness/tools.ts';

let machine: Machine;
let inside: (argv: readonly string[]) => string[];
let ours: ChildProcess;
let lines: Interface;
let facts: { image: string; container: string; merged: string };

const exec = async (...argv: string[]) => (await machine.exec(inside(argv))).stdout.toString().trim();
const podman = async (...args: string[]) => await exec('podman', '--cgroup-manager=cgroupfs', ...args);
async function ask(command: string): Promise<unknown> {
  const answer = once(lines, 'line');
  ours.stdin?.write(`${command}\n`);
  return JSON.parse(String((await answer)[0])) as unknown;
}

before(async () => {
  machine = new Machine();
  await machine.start();
  const newer = await newerDebianOn(machine);
  inside = newer.enter;
  const program = `set -eu
    root=$1 tree=$1/tmp/tree busybox=$(command -v busybox)
    mkdir -p $tree/bin
    cp $busybox $tree/bin/busybox
    for file in $(ldd $busybox | grep -o '/[^ ]*' || true); do mkdir -p $tree$(dirname $file); cp $file $tree$file; done
    # What is hard to give back byte for byte: a sparse file, names that are no UTF-8 or longer than a header, links, a FIFO.
    truncate -s 3000000 $tree/sparse; printf data | dd of=$tree/sparse bs=1 seek=1000000 conv=notrunc status=none
    printf x > "$tree/$(printf 'raw\\377name')"; printf y > "$tree/a <&> q"; long=$(printf '%0200d' 0); printf z > $tree/$long
    ln $tree/sparse $tree/hard; ln -s /etc/passwd $tree/link; mkfifo $tree/fifo
    tar -S --format=pax -C $tree -cf $root/tmp/layer.tar .`;
  await runOk(['sh', '-c', program, 'sh', newer.root], { timeoutMs: 30_000, env: { PATH: toolPath } });
  const node = process.execPath.startsWith(projectRoot) ? process.execPath : join(projectRoot, 'scripts/node.sh');
  const script = join(import.meta.dirname, 'storage/interop.ts');
  ours = machine.spawn(inside([node, '--disable-warning=ExperimentalWarning', script, 'serve', '/tmp/layer.tar']), [
    'pipe',
    'pipe',
    'inherit',
  ]);
  assert.ok(ours.stdout);
  lines = createInterface(ours.stdout);
  facts = JSON.parse(String((await once(lines, 'line'))[0])) as typeof facts;
});
after(async () => await machine.end());

test('[J60] podman lists our image and our container, and leaves its mount alone', async () => {
  assert.equal(
    await podman('images', '--no-trunc', '--format', '{{.ID}} {{.Repository}}:{{.Tag}}'),
    `sha256:${facts.image} localhost/ours:1`,
  );
  assert.match(await podman('ps', '--all', '--external', '--no-trunc'), new RegExp(`${facts.container}.*storage`, 'i'));
  assert.match(await exec('cat', '/proc/self/mountinfo'), new RegExp(facts.merged));
});

test('[J60] podman runs an image that we unpacked', async () => {
  assert.equal(await podman('run', '--rm', '--network=none', '--cgroups=disabled', 'localhost/ours:1'), 'it runs');
});

test('[J60] skopeo copies our image out of the shared store, byte for byte', async () => {
  await exec('skopeo', 'copy', 'containers-storage:localhost/ours:1', 'dir:/tmp/copy');
  const layer = await exec('sh', '-c', 'sha256sum < /tmp/layer.tar');
  assert.equal(await exec('sh', '-c', `sha256sum < /tmp/copy/${layer.split(' ')[0]}`), layer);
});

test('[J60] what podman tags, imports and removes we see at once', async () => {
  await podman('tag', 'localhost/ours:1', 'localhost/again:2');
  await podman('import', '/tmp/layer.tar', 'localhost/theirs:1');
  const names = (await ask('images')) as string[];
  for (const name of ['localhost/again:2', 'localhost/theirs:1', 'localhost/ours:1']) assert.ok(names.includes(name), name);
  await podman('rmi', 'localhost/theirs:1', 'localhost/again:2');
  assert.deepEqual(await ask('images'), ['localhost/ours:1']);
  await assert.rejects(podman('rmi', 'localhost/ours:1'), /in use/, 'our container holds it');
});

test('[J60] podman and we make and remove containers at the same time', async () => {
  const theirs = async () => {
    for (let round = 0; round < 4; round++) await podman('run', '--rm', '--network=none', '--cgroups=disabled', 'localhost/ours:1');
  };
  const [done] = await Promise.all([ask('cycle'), theirs()]);
  assert.equal(done, 'done');
  const check = await machine.exec(inside(['podman', 'system', 'check']), { mayFail: true });
  assert.equal(check.stdout.toString(), '', check.stderr);
});

test('[J60] after all that our container is still there and can be removed, and podman agrees', async () => {
  const ended = once(ours, 'exit');
  ours.stdin?.end();
  assert.deepEqual(await ended, [0, null]);
  assert.equal(await podman('ps', '--all', '--external', '--quiet'), '');
});

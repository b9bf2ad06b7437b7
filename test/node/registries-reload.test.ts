import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { BUSYBOX, REGISTRY, useNode } from '../harness/node.ts';

/** Where the command line says, and not the system's [A139, A140]. */
const DIR = '/etc/crio/registries.conf.d';
const MAIN = '/etc/crio/registries.conf';
const node = useNode({
  withoutNetwork: true,
  images: ['busybox'],
  config: '[crio.image]\nauto_reload_registries = true\n',
  files: {
    [`${DIR}/00-empty.conf`]: '',
    [MAIN]: `[[registry]]\nlocation = "${REGISTRY}"\ninsecure = true\n`,
    '/etc/containers/registries.conf': '[[registry]\n',
    '/etc/containers/registries.conf.d/broken.conf': '[[registry]\n',
  },
  env: { CONTAINER_REGISTRIES_CONF: MAIN, CONTAINER_REGISTRIES_CONF_DIR: DIR },
});
const pull = async (image: string) => (await node.client.PullImage({ image: { image } })).imageRef;
const mirror = (name: string) =>
  `[[registry]]\nprefix = "${name}.example"\nlocation = "${REGISTRY}"\ninsecure = true\n[aliases]\n"${name}" = "${name}.example/busybox"\n`;
/** Waits for the log to hold so many lines of a kind. */
async function logged(line: RegExp, times = 1): Promise<string[]> {
  for (const until = Date.now() + 10_000; ; await delay(20)) {
    const found = node.log().match(new RegExp(line, 'g')) ?? [];
    if (found.length >= times) return found;
    assert.ok(Date.now() < until, `${line} is not in the log ${times} times:\n${node.log()}`);
  }
}
const APPLIED = /Applied new registry configuration: .*/;

test(
  '[I89, B185] files that are written, renamed into or removed from the drop-in directory count 200 ms later',
  { timeout: 30_000 },
  async () => {
    assert.match(node.log(), /Registered reload watcher for mirror registries configuration/);
    const id = await pull(BUSYBOX);
    await assert.rejects(pull('first'), /short-name/);
    // One burst: it is read once.
    for (const name of ['first', 'second']) node.write(`${DIR}/${name}.conf`, mirror(name));
    assert.equal(await logged(APPLIED).then(([line]) => /first\.example.*second\.example/.test(line ?? '')), true);
    await logged(new RegExp(`File .{1,3}${DIR}/second.conf.{1,3} changed, reloading registries configuration`));
    assert.equal(await pull('first'), id);
    assert.equal(await pull('second'), id);
    await node.exec([
      'sh',
      '-ec',
      `mv ${DIR}/second.conf /tmp/third.conf; sed -i s/second/third/g /tmp/third.conf; mv /tmp/third.conf ${DIR}`,
    ]);
    await logged(APPLIED, 2);
    await assert.rejects(pull('second'), /short-name/);
    assert.equal(await pull('third'), id);
  },
);

test('[I89] what cannot be read is refused, named, and changes nothing', { timeout: 30_000 }, async () => {
  node.write(`${DIR}/broken.conf`, '[[registry]\n');
  const [line = ''] = await logged(/Failed to reload registry configuration: system registries reload failed: .*/);
  assert.match(line, /\/etc\/crio\/registries\.conf: loading drop-in registries configuration .*broken\.conf/);
  await pull('third');
  await node.exec(['rm', `${DIR}/broken.conf`]);
  await logged(APPLIED, 3);
});

test(
  '[A139, A140, I89, I90, B179] the main file, and files of other names, are not watched; SIGHUP reads them',
  { timeout: 30_000 },
  async () => {
    const applied = (await logged(APPLIED, 3)).length;
    node.write(`${DIR}/notes.txt`, 'no configuration');
    node.write(MAIN, node.read(MAIN) + mirror('main'));
    // A file that does count tells that the others would have, by then.
    process.kill(node.daemonPid, 'SIGHUP');
    const lines = await logged(APPLIED, applied + 1);
    assert.equal(lines.length, applied + 1);
    assert.match(lines.at(-1) ?? '', /main\.example/);
    assert.doesNotMatch(node.log(), /(notes\.txt|registries\.conf.{1,3}) changed/);
    assert.equal(await pull('main'), await pull(BUSYBOX));
    node.write(MAIN, '[[registry]\n');
    process.kill(node.daemonPid, 'SIGHUP');
    await logged(/Unable to reload configuration: system registries reload failed: \/etc\/crio\/registries\.conf: loading/);
    assert.equal(await pull('main'), await pull(BUSYBOX));
  },
);

test('[A139] a main file that the command line names has to be there', { timeout: 30_000 }, async () => {
  const { code, stderr } = await node.startAndEnd('--registries-conf', '/nowhere.conf', '--listen', '/run/crio/other.sock');
  assert.notEqual(code, 0);
  assert.match(stderr, /loading registries configuration .*nowhere\.conf.*no such file or directory/);
});

import { randomBytes, randomUUID } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { newHexId } from '../../src/ids/index.ts';
import type { TestNode } from './node.ts';

const STORE = '/var/lib/containers/storage';

interface StoredRecord {
  readonly id: string;
  readonly layer?: string;
}

/**
 * Multiplies what a pod of name `template` and its containers left on the disk of a node whose daemon does not run: as many
 * more pods as a node that lost power may have had. Nothing of them runs, nothing is mounted.
 */
export function multiplyPod(node: TestNode, template: string, count: number): void {
  const store = node.path(STORE);
  const files = [join(store, 'overlay-containers/volatile-containers.json'), join(store, 'overlay-layers/volatile-layers.json')] as const;
  const [containers, layers] = files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as StoredRecord[]) as [
    StoredRecord[],
    StoredRecord[],
  ];
  const texts = containers.map((record) => JSON.stringify(record)).filter((text) => text.includes(`_${template}_`));
  const uid = new RegExp(`_${template}_[^_]*_([0-9a-f-]{36})_`).exec(texts[0] ?? '')?.[1] ?? '';
  const own = texts.map((text) => JSON.parse(text) as StoredRecord);
  for (let n = 0; n < count; n++) {
    const words = new Map<string, string>([[uid, randomUUID()]]);
    for (const { id, layer = '' } of own) words.set(id, newHexId()).set(layer, newHexId());
    const adapt = (text: string) =>
      [...words]
        .reduce((all, [from, to]) => all.replaceAll(from, to), text)
        .replaceAll(`_${template}_`, `_${template}-${n}_`)
        .replaceAll(`"name\\":\\"${template}\\"`, `"name\\":\\"${template}-${n}\\"`);
    for (const { id, layer = '' } of own) {
      containers.push(JSON.parse(adapt(JSON.stringify(containers.find((one) => one.id === id)))) as StoredRecord);
      layers.push(JSON.parse(adapt(JSON.stringify(layers.find((one) => one.id === layer)))) as StoredRecord);
      const from = join(store, 'overlay-containers', id, 'userdata');
      const to = join(store, 'overlay-containers', words.get(id) ?? '', 'userdata');
      mkdirSync(to, { recursive: true, mode: 0o700 });
      for (const name of ['config.json', 'state.json']) {
        try {
          writeFileSync(join(to, name), adapt(readFileSync(join(from, name), 'utf8')));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error; // A pod without a pause process has no state.json there.
        }
      }
      copyLayer(store, layer, words.get(layer) ?? '');
    }
  }
  writeFileSync(files[0], JSON.stringify(containers));
  writeFileSync(files[1], JSON.stringify(layers));
}

function copyLayer(store: string, from: string, to: string): void {
  const home = join(store, 'overlay');
  const link = base32(randomBytes(17)).slice(0, 26);
  mkdirSync(join(home, to), { mode: 0o700 });
  for (const name of ['diff', 'work', 'merged']) mkdirSync(join(home, to, name), { mode: 0o700 });
  cpSync(join(home, from, 'lower'), join(home, to, 'lower'));
  writeFileSync(join(home, to, 'link'), link);
  symlinkSync(`../${to}/diff`, join(home, 'l', link));
}

function base32(bytes: Uint8Array): string {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{5}/g) ?? []).map((five) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[Number.parseInt(five, 2)]).join('');
}

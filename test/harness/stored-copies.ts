import { randomBytes, randomUUID } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { newHexId } from '../../src/ids/index.ts';
import type { TestNode } from './node.ts';

const STORE = '/var/lib/containers/storage';
const RUN_STORE = '/run/containers/storage';

interface StoredRecord {
  readonly id: string;
  readonly layer?: string;
}

/**
 * Multiplies what a pod of name `template` and its containers left on the disk of a node whose daemon does not run: as many
 * more pods as a node that lost power may have had. Nothing of them runs, nothing is mounted.
 */
export function multiplyPod(node: TestNode, template: string, count: number): void {
  const copies = new StoredCopies(node);
  const own = copies.recordsNaming(`_${template}_`);
  const uid = new RegExp(`_${template}_[^_]*_([0-9a-f-]{36})_`).exec(JSON.stringify(own[0]))?.[1] ?? '';
  for (let n = 0; n < count; n++) {
    const uidOfCopy = randomUUID();
    copies.add(own, (text) =>
      text
        .replaceAll(uid, uidOfCopy)
        .replaceAll(`_${template}_`, `_${template}-${n}_`)
        .replaceAll(`"name\\":\\"${template}\\"`, `"name\\":\\"${template}-${n}\\"`),
    );
  }
  copies.save();
}

/**
 * Multiplies a stopped container of a node whose daemon does not run. Wherever its records say `template`, which must be no other
 * word of them, a copy's say `<template>-<n>`. Answers the ids of the copies.
 */
export function multiplyContainer(node: TestNode, template: string, count: number): string[] {
  const copies = new StoredCopies(node);
  const own = copies.recordsNaming(template);
  const ids = Array.from({ length: count }, (_, n) => copies.add(own, (text) => text.replaceAll(template, `${template}-${n}`)));
  copies.save();
  return ids.flat();
}

/** Containers of a store, with their directories and layers, once more under other ids. */
class StoredCopies {
  readonly #node: TestNode;
  readonly #containers: StoredRecord[];
  readonly #layers: StoredRecord[];

  constructor(node: TestNode) {
    this.#node = node;
    this.#containers = this.#read('overlay-containers/volatile-containers.json');
    this.#layers = this.#read('overlay-layers/volatile-layers.json');
  }

  recordsNaming(text: string): StoredRecord[] {
    return this.#containers.filter((record) => JSON.stringify(record).includes(text));
  }

  /** Copies records that may name each other; `adapt` rewrites everything that is told of them. Answers their ids. */
  add(own: readonly StoredRecord[], adapt: (text: string) => string): string[] {
    const ids = new Map<string, string>();
    for (const { id, layer = '' } of own) ids.set(id, newHexId()).set(layer, newHexId());
    const copied = (text: string) => adapt([...ids].reduce((all, [from, to]) => all.replaceAll(from, to), text));
    const copyOf = (record: StoredRecord | undefined) => JSON.parse(copied(JSON.stringify(record))) as StoredRecord;
    for (const record of own) {
      const { id, layer = '' } = record;
      this.#containers.push(copyOf(record));
      this.#layers.push(copyOf(this.#layers.find((one) => one.id === layer)));
      for (const root of [STORE, RUN_STORE]) this.#copyUserdata(root, id, ids.get(id) ?? '', copied);
      this.#copyLayer(layer, ids.get(layer) ?? '');
    }
    return own.map(({ id }) => ids.get(id) ?? '');
  }

  save(): void {
    this.#write('overlay-containers/volatile-containers.json', this.#containers);
    this.#write('overlay-layers/volatile-layers.json', this.#layers);
  }

  /** A pod without a pause process has no state.json there; after a boot nothing is left below /run. */
  #copyUserdata(root: string, from: string, to: string, copied: (text: string) => string): void {
    const userdata = (id: string) => this.#node.path(join(root, 'overlay-containers', id, 'userdata'));
    const names = ['config.json', 'state.json', 'exit'].filter((name) => existsSync(join(userdata(from), name)));
    if (names.length > 0) mkdirSync(userdata(to), { recursive: true, mode: 0o700 });
    for (const name of names) writeFileSync(join(userdata(to), name), copied(readFileSync(join(userdata(from), name), 'utf8')));
  }

  #copyLayer(from: string, to: string): void {
    const home = this.#node.path(join(STORE, 'overlay'));
    const link = base32(randomBytes(17)).slice(0, 26);
    mkdirSync(join(home, to), { mode: 0o700 });
    for (const name of ['diff', 'work', 'merged']) mkdirSync(join(home, to, name), { mode: 0o700 });
    cpSync(join(home, from, 'lower'), join(home, to, 'lower'));
    writeFileSync(join(home, to, 'link'), link);
    symlinkSync(`../${to}/diff`, join(home, 'l', link));
  }

  #read(file: string): StoredRecord[] {
    return JSON.parse(this.#node.read(join(STORE, file))) as StoredRecord[];
  }

  #write(file: string, records: readonly StoredRecord[]): void {
    this.#node.write(join(STORE, file), JSON.stringify(records));
  }
}

function base32(bytes: Uint8Array): string {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{5}/g) ?? []).map((five) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[Number.parseInt(five, 2)]).join('');
}

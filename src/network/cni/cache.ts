import { chmod, mkdir, readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, textOf } from '../../errors/index.ts';
import { writeFileAtomic } from '../../files/index.ts';
import type { Logger } from '../../log/index.ts';
import { step } from '../../steps/index.ts';
import { type Json, compareBytes, goJson, isObject, property } from './json.ts';
import type { Attachment, CniArg } from './request.ts';
import { type CniResult, readResult, toJson } from './result.ts';

/** An attachment as the cache knows it [H40]. */
export interface CachedAttachment extends Attachment {
  readonly network: string;
  /** The bytes of the configuration it was made with. */
  readonly config: Uint8Array;
  /** Absent while ADD has not ended, or when its file cannot be understood. */
  readonly result: CniResult | undefined;
}

/**
 * `<cacheDir>/results/<network>-<container id>-<interface>`: libcni's files, shared with CRI-O and others
 * (docs/reference/cri-o-ondisk.md §5.7). Written without `result` before ADD, so that a crash in between leaves
 * a trace that DEL and garbage collection find (needs p33), and again with it afterwards.
 */
export class AttachmentCache {
  readonly #dir: string;
  readonly #log: Logger;

  constructor(cacheDir: string, log: Logger) {
    this.#dir = join(cacheDir, 'results');
    this.#log = log;
  }

  async write(network: string, config: Uint8Array, attachment: Attachment, result: CniResult | undefined): Promise<void> {
    const path = this.#path(network, attachment);
    const data = encodeCached(network, config, attachment, result);
    const write = () => step('CNI cache', () => writeFileAtomic(path, data, { mode: 0o600, sync: false }));
    try {
      await write();
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      await mkdir(this.#dir, { recursive: true, mode: 0o700 });
      await chmod(this.#dir, 0o700);
      await write();
    }
  }

  /** Removes what writers that were killed left behind; for a start, when nobody else of us writes. */
  async sweep(): Promise<void> {
    for (const file of await this.#files()) if (file.startsWith('.tmp-')) await rm(join(this.#dir, file), { force: true });
  }

  /** Every attachment, or those of one container, in the order of their file names. What cannot be read is left out. */
  async list(containerId?: string): Promise<readonly CachedAttachment[]> {
    const found: CachedAttachment[] = [];
    for (const file of await this.#files()) {
      if (file.startsWith('.tmp-')) continue; // left by a writer that was killed
      if (containerId !== undefined && !file.includes(`-${containerId}-`)) continue;
      const cached = await this.#read(file);
      if (cached === undefined || (containerId !== undefined && cached.containerId !== containerId)) continue;
      if (cached.ifName !== 'lo' || cached.network !== 'cni-loopback') found.push(cached);
    }
    return found;
  }

  async remove(network: string, attachment: Pick<Attachment, 'containerId' | 'ifName'>): Promise<void> {
    await step('CNI cache', () => rm(this.#path(network, attachment), { force: true }));
  }

  /** Removes every file whose name contains the id [D103, D104]. */
  async removeContainer(containerId: string): Promise<void> {
    for (const file of await this.#files()) {
      if (!file.includes(containerId)) continue;
      await rm(join(this.#dir, file), { force: true });
      this.#log.info(`Cleaned up CNI result file ${file} for container ${containerId}`);
    }
  }

  #path(network: string, { containerId, ifName }: Pick<Attachment, 'containerId' | 'ifName'>): string {
    return join(this.#dir, `${network}-${containerId}-${ifName}`);
  }

  async #files(): Promise<readonly string[]> {
    try {
      return (await readdir(this.#dir)).toSorted(compareBytes);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') this.#log.warn(`Failed to read CNI cache directory ${this.#dir}: ${textOf(error)}`);
      return [];
    }
  }

  async #read(file: string): Promise<CachedAttachment | undefined> {
    try {
      return decodeCached(await readFile(join(this.#dir, file), 'utf8'));
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') this.#log.error(`Failed to read CNI cache file ${join(this.#dir, file)}: ${textOf(error)}`);
      return undefined;
    }
  }
}

/** libcni's `cniCacheV1`, member for member in its order, and `netnsId` where it is known (needs p34). */
export function encodeCached(network: string, config: Uint8Array, attachment: Attachment, result: CniResult | undefined): string {
  const members: [string, Json][] = [
    ['kind', 'cniCacheV1'],
    ['containerId', attachment.containerId],
    ['config', Buffer.from(config.buffer, config.byteOffset, config.byteLength).toString('base64')],
    ['ifName', attachment.ifName],
    ['networkName', network],
  ];
  if (attachment.netns !== '') members.push(['netns', attachment.netns]);
  if (attachment.args.length > 0) members.push(['cniArgs', attachment.args]);
  if (Object.keys(attachment.capabilityArgs).length > 0) members.push(['capabilityArgs', attachment.capabilityArgs]);
  if (result !== undefined) members.push(['result', toJson(result)]);
  // Ours: libcni leaves out what it does not know.
  if (attachment.netnsId !== '') members.push(['netnsId', attachment.netnsId]);
  return `{${members.map(([key, value]) => `"${key}":${goJson(value)}`).join(',')}}`;
}

/** Undefined for what is no `cniCacheV1`. Member names are matched without regard to case, as Go's readers do. */
export function decodeCached(text: string): CachedAttachment | undefined {
  const json = JSON.parse(text) as Json;
  if (!isObject(json)) return undefined;
  const member = (name: string): Json | undefined => {
    const key = Object.keys(json).find((candidate) => candidate.toLowerCase() === name.toLowerCase());
    return key === undefined ? undefined : property(json, key);
  };
  const string = (name: string): string => {
    const value = member(name);
    return typeof value === 'string' ? value : '';
  };
  const [containerId, ifName, network] = [string('containerId'), string('ifName'), string('networkName')];
  if (string('kind') !== 'cniCacheV1' || ifName === '' || network === '') return undefined;
  const args = member('cniArgs');
  const capabilityArgs = member('capabilityArgs');
  return {
    containerId,
    ifName,
    network,
    netns: string('netns'),
    netnsId: string('netnsId'),
    config: Buffer.from(string('config'), 'base64'),
    args: Array.isArray(args) ? args.filter(isArg) : [],
    capabilityArgs: isObject(capabilityArgs) ? capabilityArgs : {},
    result: cachedResult(member('result')),
  };
}

function cachedResult(json: Json | undefined): CniResult | undefined {
  if (json === undefined || json === null) return undefined;
  try {
    return readResult(json, '0.1.0');
  } catch {
    return undefined; // As libcni: DEL goes on without a result that nobody understands.
  }
}

function isArg(value: Json): value is CniArg {
  return Array.isArray(value) && value.length === 2 && value.every((part) => typeof part === 'string');
}

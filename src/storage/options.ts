import { parseSize } from '../config/index.ts';
import { Failure } from '../errors/index.ts';
import type { ProjectLimits } from '../linux/index.ts';

export interface DriverSettings {
  /** Words of `mountopt`, in order. */
  readonly mountOptions: readonly string[];
  readonly skipMountHome: boolean;
  /** Paths of additional image stores, in the order of search. */
  readonly additionalImageStores: readonly string[];
  /** Of each container's layer [J36]. */
  readonly limits: ProjectLimits;
}

/** Options that Go's driver knows and that change nothing here, with what they ask for. */
const UNSUPPORTED: ReadonlyMap<string, string> = new Map([
  ['mount_program', 'a mount program'],
  ['additionallayerstore', 'additional layer stores'],
  ['force_mask', 'a forced mask'],
  ['use_composefs', 'composefs'],
  ['ignore_chown_errors', 'ignored chown errors'],
]);

/** What serves the same purpose. */
const INSTEAD: ReadonlyMap<string, string> = new Map([
  ['additionallayerstore', ' enable_partial_images in pull_options of storage.conf fetches only what is missing of an image.'],
]);

const ADDITIONAL_STORES: ReadonlySet<string> = new Set(['imagestore', 'additionalimagestore', 'additionalimagestores']);

/** Values with which such an option asks for nothing. */
const OFF: ReadonlySet<string> = new Set(['', '0', 'false']);

/**
 * Reads `storage_option` (`overlay.mountopt=nodev`, the last one of a key counts, but for additional stores) [J3, J28]. An unknown option or one that
 * asks for what is not built fails here, at the start, instead of being ignored.
 */
export function parseStorageOptions(options: readonly string[]): DriverSettings {
  let mountOptions: readonly string[] = [];
  let skipMountHome = false;
  let limits: ProjectLimits = { bytes: 0n, inodes: 0n };
  const additionalImageStores: string[] = [];
  for (const option of options) {
    const match = /^(?:(?:overlay2?|storage)?\.)?([^=]+)=(.*)$/s.exec(option);
    const key = match?.[1]?.trim().toLowerCase();
    const value = match?.[2] ?? '';
    if (key === undefined) throw new Failure('InvalidArgument', `Unable to parse key/value option: ${option}`);
    if (key === 'mountopt') mountOptions = value.split(',').filter((word) => word !== '');
    else if (key === 'skip_mount_home') skipMountHome = parseBool(key, value);
    else if (key === 'size') limits = { ...limits, bytes: parseBytes(value) };
    else if (key === 'inodes') limits = { ...limits, inodes: parseCount(value) };
    // Those of several files and of both names add up.
    else if (ADDITIONAL_STORES.has(key)) additionalImageStores.push(...value.split(',').filter((path) => path !== ''));
    else if (UNSUPPORTED.has(key)) {
      if (OFF.has(value)) continue;
      if (key === 'additionallayerstore') refuseMalformed(value);
      throw new Failure('Unimplemented', `overlay: option ${key} is not supported: crio has no ${UNSUPPORTED.get(key)}`, {
        advice: `Remove ${key} from storage.conf and from storage_option.${INSTEAD.get(key) ?? ''}`,
      });
    } else throw new Failure('InvalidArgument', `overlay: unknown option ${key}`);
  }
  return { mountOptions, skipMountHome, additionalImageStores, limits };
}

function parseBytes(value: string): bigint {
  if (value === '') return 0n;
  const size = parseSize(value);
  if ('problem' in size) throw new Failure('InvalidArgument', `overlay: option size: ${size.problem}`);
  return BigInt(size.bytes);
}

function parseCount(value: string): bigint {
  if (value === '') return 0n;
  if (/^\d+$/.test(value) && BigInt(value) < 2n ** 64n) return BigInt(value);
  throw new Failure('InvalidArgument', `overlay: option inodes: ${JSON.stringify(value)} is no number of files`);
}

/** `path[:ref]`, more of them after commas [J38]. */
function refuseMalformed(value: string): void {
  for (const store of value.split(',')) {
    const odd = store
      .split(':')
      .slice(1)
      .find((option) => option !== 'ref');
    if (odd === undefined) continue;
    const text = `overlay: additionallayerstore config ${JSON.stringify(store)} contains unknown option ${JSON.stringify(odd)}`;
    throw new Failure('InvalidArgument', text);
  }
}

/** As Go's strconv.ParseBool. */
function parseBool(key: string, value: string): boolean {
  if (['1', 't', 'T', 'TRUE', 'true', 'True'].includes(value)) return true;
  if (['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(value)) return false;
  throw new Failure('InvalidArgument', `overlay: option ${key}: ${JSON.stringify(value)} is no boolean`);
}

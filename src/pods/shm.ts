import { Failure } from '../errors/index.ts';
import type { StringMap } from '../oci/spec/index.ts';

const DEFAULT_BYTES = 64n * 1024n * 1024n;
const SUFFIXES: ReadonlyMap<string, bigint> = new Map([
  ['', 1n],
  ['k', 10n ** 3n],
  ['M', 10n ** 6n],
  ['G', 10n ** 9n],
  ['T', 10n ** 12n],
  ['Ki', 1n << 10n],
  ['Mi', 1n << 20n],
  ['Gi', 1n << 30n],
  ['Ti', 1n << 40n],
]);

/** Bytes of a pod's /dev/shm: annotation `shm-size.crio.io` (a Kubernetes quantity), else 64 MiB [D51, P15]. */
export function shmSize(annotations: StringMap): bigint {
  const value = annotations.get('shm-size.crio.io') ?? annotations.get('io.kubernetes.cri-o.ShmSize');
  if (value === undefined) return DEFAULT_BYTES;
  const match = /^([+-]?\d+)(?:\.(\d+))?([A-Za-z]*)$/.exec(value);
  const unit = SUFFIXES.get(match?.[3] ?? '');
  if (match === null || unit === undefined) {
    throw new Failure(
      'InvalidArgument',
      `failed to parse shm size '${value}': quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'`,
    );
  }
  const fraction = match[2] ?? '';
  const bytes = (BigInt(`${match[1]}${fraction}`) * unit) / 10n ** BigInt(fraction.length);
  if (bytes <= 0n) throw new Failure('InvalidArgument', `shm size ${bytes} must be greater than 0`);
  return bytes;
}

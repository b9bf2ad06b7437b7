import { Failure } from '../../errors/index.ts';
import type { IDMapping, IdMappings } from '../../oci/spec/index.ts';
import type { IdMap, IdMapping } from '../../storage/index.ts';

const MAX_UINT32 = 0xffffffffn;

/** `container:host:size,…` of the configuration and of the annotation [G87, G91]. */
export function parseIdMappings(text: string, kind: 'UID' | 'GID'): IDMapping[] {
  return text.split(',').map((range) => {
    const malformed = () =>
      new Failure(
        'InvalidArgument',
        `initializing ID mappings: ${kind} setting is malformed expected ["uint32:uint32:uint32"]: "${range}"`,
      );
    const numbers = /^(\d{1,10}):(\d{1,10}):(\d{1,10})$/.exec(range.trim())?.slice(1).map(BigInt);
    const [containerId, hostId, length] = numbers ?? [];
    if (containerId === undefined || hostId === undefined || length === undefined) throw malformed();
    if ([containerId, hostId, length].some((number) => number > MAX_UINT32)) throw malformed();
    return { containerId: Number(containerId), hostId: Number(hostId), length: Number(length) };
  });
}

/** Both settings, or none [G91]. */
export function configuredMappings(uids: string, gids: string): IdMappings | undefined {
  return uids === '' || gids === '' ? undefined : { uids: parseIdMappings(uids, 'UID'), gids: parseIdMappings(gids, 'GID') };
}

/** What a record of the store has. */
export function fromRecord({ uids, gids }: IdMap): IdMappings {
  const convert = (maps: readonly IdMapping[]) => maps.map(({ containerId, hostId, size }) => ({ containerId, hostId, length: size }));
  return { uids: convert(uids), gids: convert(gids) };
}

import { kindOf } from '../errors/index.ts';
import type { ImageRecord } from '../storage/index.ts';
import { arrayField, parseForeignJson } from './json.ts';
import type { ImageStore } from './store.ts';
import { type Signature, splitStored } from './trust/index.ts';

/** The signatures that an image was pulled with, by whatever tool (docs/reference/cri-o-ondisk.md §1.3). Unverified. */
export async function storedSignatures(store: ImageStore, record: ImageRecord): Promise<readonly Signature[]> {
  if (!record.bigDataNames.includes('signatures')) return [];
  const what = `metadata of image ${record.id}`;
  const said = arrayField(parseForeignJson(Buffer.from(record.metadata || '{}'), what), 'signature-sizes', what) ?? [];
  const sizes = said.filter((size) => typeof size === 'number');
  if (sizes.length === 0) return [];
  try {
    return splitStored(await store.imageBigData(record.id, 'signatures'), sizes);
  } catch (error) {
    if (kindOf(error) === 'NotFound') return [];
    throw error;
  }
}

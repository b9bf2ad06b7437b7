import { Failure } from '../../../errors/index.ts';
import type { ArchiveCode } from '../types.ts';

/** A layer of which not only parts can be fetched: `why` goes on after its name. */
export function unsuitable(why: string, cause?: unknown): Failure {
  const code: ArchiveCode = 'UNSUITABLE';
  return new Failure('Unknown', why, cause === undefined ? { code } : { code, cause });
}

import { Failure } from '../../errors/index.ts';
import type { ArchiveCode } from './types.ts';

/** The archive is not what it claims to be. */
export function badArchive(what: string, cause?: unknown): Failure {
  const code: ArchiveCode = 'BAD_ARCHIVE';
  return new Failure('InvalidArgument', what, cause === undefined ? { code } : { code, cause });
}

/** The archive is compressed in a way that is not understood, or costs too much memory. */
export function unsupportedCompression(what: string): Failure {
  const code: ArchiveCode = 'UNSUPPORTED_COMPRESSION';
  return new Failure('Unimplemented', what, {
    code,
    advice: 'Push the image again with gzip or zstd compression, for example by skopeo copy --dest-compress-format.',
  });
}

/** The archive costs more than its caller allows. */
export function overLimit(what: string): Failure {
  const code: ArchiveCode = 'LIMIT';
  return new Failure('ResourceExhausted', what, { code, advice: 'Use an image with smaller layers, or make room below the storage root.' });
}

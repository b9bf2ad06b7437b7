import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Failure, codeOf, wrap } from '../../errors/index.ts';
import { type Digest, algorithmOf, hexOf } from '../../ids/index.ts';
import type { ImageReference } from '../reference.ts';
import { type Transport, type Trust, discard, readBody, unexpectedStatus } from '../registry/index.ts';
import { MAX_SIGNATURES, MAX_SIGNATURE_BYTES, type Signature, decodeSignature } from './signatures.ts';

/**
 * The signatures of a manifest below a lookaside URL (file, http or https): `<url>/<repository's path>@<algorithm>=<hex>/signature-<n>`,
 * n from 1 until one is missing. Nobody's credentials are sent there.
 */
export async function readLookaside(
  base: string,
  reference: ImageReference,
  digest: Digest,
  transport: Transport,
  trust: Trust,
  signal: AbortSignal,
): Promise<readonly Signature[]> {
  const found: Signature[] = [];
  for (let index = 1; index <= MAX_SIGNATURES; index++) {
    const path = `${reference.path}@${algorithmOf(digest)}=${hexOf(digest)}/signature-${index}`;
    const url = urlBelow(base, path);
    const blob = url.protocol === 'file:' ? await readIfThere(fileURLToPath(url)) : await get(url, transport, trust, signal);
    if (blob === undefined) return found;
    if (blob.length === 0) throw new Failure('Unknown', `reading signature from ${url.href}: it is empty`);
    found.push(decodeSignature(blob));
  }
  throw new Failure('ResourceExhausted', `${base} has more than ${MAX_SIGNATURES} signatures of ${digest}`);
}

function urlBelow(base: string, path: string): URL {
  const url = URL.canParse(base) ? new URL(base) : undefined;
  if (url === undefined || !['file:', 'http:', 'https:'].includes(url.protocol))
    throw new Failure('InvalidArgument', `Unsupported scheme when reading signature from ${JSON.stringify(base)}`, {
      advice: 'A lookaside in registries.d is a URL of a file, or one with http or https.',
    });
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/${path}`;
  return url;
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    const blob = await readFile(path);
    if (blob.length > MAX_SIGNATURE_BYTES) throw new Failure('Unknown', `signature ${path} is larger than ${MAX_SIGNATURE_BYTES} bytes`);
    return blob;
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

async function get(url: URL, transport: Transport, trust: Trust, signal: AbortSignal): Promise<Buffer | undefined> {
  const doing = `reading signature from ${url.origin}${url.pathname}`;
  const response = await transport.exchange({ url, headers: {}, trust, signal }).catch((error: unknown) => {
    throw wrap(doing, error);
  });
  const status = response.statusCode ?? 0;
  if (status === 200) return await readBody(response, MAX_SIGNATURE_BYTES, transport.timeouts.idleMs, signal);
  discard(response);
  if (status === 404) return undefined;
  throw wrap(doing, unexpectedStatus(status, response.statusMessage ?? ''));
}

import { run } from '../../process/index.ts';
import type { Logger } from '../../log/index.ts';
import { textOf } from '../../errors/index.ts';
import { NO_FEATURES, type RuntimeFeatures } from './handler.ts';

const PROBE_TIMEOUT_MS = 10_000;

/** Asks `<runtime> features` [K17, K18]; what it does not say stays off. Never fails. */
export async function probeFeatures(path: string, env: Readonly<Record<string, string>>, log: Logger): Promise<RuntimeFeatures> {
  try {
    const result = await run([path, 'features'], { env, timeoutMs: PROBE_TIMEOUT_MS });
    if (result.code !== 0) return NO_FEATURES;
    return parseFeatures(JSON.parse(result.stdout.toString('utf8')));
  } catch (error) {
    log.warn(`Getting features of runtime ${path} failed, assuming none: ${textOf(error)}`);
    return NO_FEATURES;
  }
}

export function parseFeatures(json: unknown): RuntimeFeatures {
  const root = objectOf(json);
  const linux = objectOf(root['linux']);
  const options = Array.isArray(root['mountOptions']) ? root['mountOptions'] : [];
  const namespaces = Array.isArray(linux['namespaces']) ? linux['namespaces'] : [];
  const max = root['ociVersionMax'];
  return {
    ociVersionMax: typeof max === 'string' ? max : undefined,
    recursiveReadOnly: options.includes('rro'),
    idmapMounts: objectOf(objectOf(linux['mountExtensions'])['idmap'])['enabled'] === true,
    userNamespaces: namespaces.includes('user'),
  };
}

function objectOf(value: unknown): Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

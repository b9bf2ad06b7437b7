import { basename } from 'node:path';
import { run } from '../../process/index.ts';
import type { Logger } from '../../log/index.ts';
import { textOf } from '../../errors/index.ts';
import { NO_FEATURES, type RuntimeFeatures } from './handler.ts';

const PROBE_TIMEOUT_MS = 10_000;

/** The first crun of which we know (by trying) that it maps the ids of volumes, before it had a `features` command to say so. */
const CRUN_WITH_IDMAP = [1, 8, 1] as const;

/**
 * Asks `<runtime> features` [K17, K18]; what it does not say stays off. A crun too old for that command is judged by its version
 * (docs/parity.md, K18). Never fails.
 */
export async function probeFeatures(path: string, env: Readonly<Record<string, string>>, log: Logger): Promise<RuntimeFeatures> {
  const crun = basename(path).startsWith('crun');
  const none = { ...NO_FEATURES, crun };
  try {
    const result = await run([path, 'features'], { env, timeoutMs: PROBE_TIMEOUT_MS });
    if (result.code !== 0) return crun ? { ...none, idmapMounts: await isCrunWithIdmap(path, env) } : none;
    return { ...parseFeatures(JSON.parse(result.stdout.toString('utf8'))), crun };
  } catch (error) {
    log.warn(`Getting features of runtime ${path} failed, assuming none: ${textOf(error)}`);
    return none;
  }
}

async function isCrunWithIdmap(path: string, env: Readonly<Record<string, string>>): Promise<boolean> {
  const { stdout } = await run([path, '--version'], { env, timeoutMs: PROBE_TIMEOUT_MS });
  return crunMapsIds(stdout.toString('utf8'));
}

/** From `crun --version`: `crun version 1.8.1` is its first line. */
export function crunMapsIds(version: string): boolean {
  const numbers = /^crun version (\d+)\.(\d+)(?:\.(\d+))?/
    .exec(version)
    ?.slice(1)
    .map((number) => Number(number ?? 0));
  if (numbers === undefined) return false;
  const difference = CRUN_WITH_IDMAP.map((least, part) => (numbers[part] ?? 0) - least).find((part) => part !== 0) ?? 0;
  return difference >= 0;
}

/** The parts of a features document that we use; anything of another shape counts as not said. */
export function parseFeatures(json: unknown): RuntimeFeatures {
  const root = objectOf(json);
  const linux = objectOf(root['linux']);
  const options = stringsOf(root['mountOptions']);
  return {
    ociVersionMin: textOrNothing(root['ociVersionMin']),
    ociVersionMax: textOrNothing(root['ociVersionMax']),
    recursiveReadOnly: options?.includes('rro') === true,
    idmapMounts: objectOf(objectOf(linux['mountExtensions'])['idmap'])['enabled'] === true,
    mountOptions: options === undefined ? undefined : new Set(options),
    unsafeAnnotations: stringsOf(root['potentiallyUnsafeConfigAnnotations']) ?? [],
  };
}

function textOrNothing(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function stringsOf(value: unknown): string[] | undefined {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : undefined;
}

function objectOf(value: unknown): Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

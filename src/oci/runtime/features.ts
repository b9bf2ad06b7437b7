import { basename } from 'node:path';
import { exitFailure, run } from '../../process/index.ts';
import type { Logger } from '../../log/index.ts';
import { Failure, textOf } from '../../errors/index.ts';
import { NO_FEATURES, type RuntimeFeatures } from './handler.ts';
import type { RuntimePrograms } from './programs.ts';

const PROBE_TIMEOUT_MS = 10_000;

/** The first crun of which we know (by trying) that it maps the ids of volumes, before it had a `features` command to say so. */
const CRUN_WITH_IDMAP = [1, 8, 1] as const;

/**
 * Asks `<runtime> --version`, for the log, and `<runtime> features` [K17, K18]; what it does not say stays off. A crun too old for that
 * command is judged by its version (docs/parity.md, K18). Never fails.
 */
export async function probeFeatures(
  path: string,
  programs: RuntimePrograms,
  env: Readonly<Record<string, string>>,
  log: Logger,
): Promise<RuntimeFeatures> {
  const none = { ...NO_FEATURES, crun: basename(path).startsWith('crun') };
  const ask = async (word: string) => {
    const result = await run([path, word], { program: programs.programFor(path), env, timeoutMs: PROBE_TIMEOUT_MS });
    if (result.code !== 0) throw exitFailure([path, word], result);
    return result.stdout.toString('utf8');
  };
  const askBoth = () => Promise.allSettled([ask('--version'), ask('features')]);
  let [version, features] = await askBoth();
  if (version.status === 'rejected' && programs.programFor(path) !== path) {
    log.info(`Runtime ${path} cannot be executed from a sealed copy, executing the file itself: ${textOf(version.reason)}`);
    programs.stopSealing();
    [version, features] = await askBoth();
  }
  if (version.status === 'fulfilled') log.info(`Runtime ${path}: ${version.value.trim().replaceAll(/\s*\n\s*/g, ', ')}`);
  else log.warn(`Getting the version of runtime ${path} failed: ${textOf(version.reason)}`);
  if (features.status === 'rejected') {
    log.info(`Runtime ${path} does not tell its features, assuming none: ${textOf(features.reason)}`);
    return { ...none, idmapMounts: none.crun && version.status === 'fulfilled' && crunMapsIds(version.value) };
  }
  try {
    return { ...checkFeatures(parseFeatures(JSON.parse(features.value))), crun: none.crun };
  } catch (error) {
    log.warn(`Getting features of runtime ${path} failed, assuming none: ${textOf(error)}`);
    return none;
  }
}

/** A document without the versions that it is for is none [K17]. */
function checkFeatures(features: RuntimeFeatures): RuntimeFeatures {
  if (features.ociVersionMin === undefined || features.ociVersionMax === undefined)
    throw new Failure('Unknown', 'runtime features structure is not valid');
  return features;
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

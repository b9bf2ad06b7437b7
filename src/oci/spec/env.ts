import { Failure } from '../../errors/index.ts';
import type { ContainerSpecInput } from './input.ts';
import type { KeyValue } from './request.ts';
import { annotationValue } from './annotation-keys.ts';

/** What every container starts from, tty or not [F1, F11]. */
export const BASE_ENV = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TERM=xterm'] as const;

export interface EnvironmentInput {
  readonly hostname: string;
  readonly defaultEnv: readonly string[];
  readonly envs: readonly KeyValue[];
  readonly imageEnv: readonly string[];
  /** argv[0] is an init system [F71]. */
  readonly systemd: boolean;
}

/**
 * `process.env` [F9–F15]: base, `container`, HOSTNAME, default_env, CRI's, then those of the image that CRI does not
 * set. A key has one entry, at its first writer's place with the last writer's value (CRI-O repeats PATH and TERM).
 * Fails on a NUL anywhere and on a line break in HOME; an image entry without `=` is skipped with a warning.
 */
export function buildEnvironment(input: EnvironmentInput, warnings: string[]): string[] {
  const env = new Map<string, string>();
  const setAll = (entries: readonly string[], origin: string) => {
    for (const entry of entries) {
      const equals = entry.indexOf('=');
      if (equals > 0) env.set(entry.slice(0, equals), entry.slice(equals + 1));
      else warnings.push(`Environment entry ${JSON.stringify(entry)} of ${origin} is not in key=value form, skipping it`);
    }
  };
  setAll(BASE_ENV, 'crio');
  if (input.systemd) env.set('container', 'crio');
  env.set('HOSTNAME', input.hostname);
  setAll(input.defaultEnv, 'default_env');
  const requested = new Set<string>();
  for (const { key, value } of input.envs) {
    if (key === '') continue;
    requested.add(key);
    env.set(key, new TextDecoder().decode(value));
  }
  const ofImage = input.imageEnv.filter((entry) => !requested.has(entry.split('=', 1)[0] ?? ''));
  setAll(ofImage, 'the image');
  for (const [key, value] of env) {
    if (key.includes('\0') || value.includes('\0') || key.includes('='))
      throw new Failure('InvalidArgument', `environment variable ${JSON.stringify(key)} holds a NUL or an equals sign in its name`);
  }
  if (/[\n\r]/.test(env.get('HOME') ?? '')) throw new Failure('Unknown', 'invalid HOME environment; newline not allowed');
  return [...env].map(([key, value]) => `${key}=${value}`);
}

/**
 * GOMAXPROCS for pods that share CPUs and have no limit of their own [F17, L92, B50]; undefined where none is due.
 * Unlike in CRI-O the pod's handler need not be named in the request.
 */
export function injectedGomaxprocs(
  input: Pick<ContainerSpecInput, 'sandbox' | 'settings'>,
  env: readonly string[],
  cpu: { readonly shares: bigint; readonly quota: bigint },
): string | undefined {
  const floor = input.settings.minInjectedGomaxprocs;
  if (floor <= 0 || cpu.quota > 0n) return undefined;
  if (!/burstable|besteffort/.test(input.sandbox.cgroupParent)) return undefined;
  if (annotationValue(input.sandbox.annotations, 'skip-gomaxprocs.crio.io') === 'true') return undefined;
  if (env.some((entry) => entry.startsWith('GOMAXPROCS='))) return undefined;
  const twiceShares = Number((2n * cpu.shares + 1023n) / 1024n);
  return `GOMAXPROCS=${Math.max(twiceShares, 1, floor)}`;
}

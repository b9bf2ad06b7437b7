import { posix } from 'node:path';
import { Failure } from '../../errors/index.ts';
import type { HostFacts, ImageFacts, SpecSettings } from './input.ts';
import type { OciRlimit } from './types.ts';

/** `process.args` [F7, F8, D46]: on the wire an empty command is an absent one. */
export function buildArgs(command: readonly string[], args: readonly string[], image: Pick<ImageFacts, 'entrypoint' | 'cmd'>): string[] {
  const all = command.length > 0 ? [...command, ...args] : [...image.entrypoint, ...(args.length > 0 ? args : image.cmd)];
  if (all.length === 0)
    throw new Failure('Unknown', 'no command specified', {
      advice: 'Set a command in the container, or an ENTRYPOINT or CMD in the image.',
    });
  if (all.some((arg) => arg.includes('\0'))) throw new Failure('InvalidArgument', 'the command holds a NUL byte');
  return all;
}

/** argv[0] names an init system: CRI-O then prepares the mounts systemd wants [F71]. */
export function isSystemd(args: readonly string[]): boolean {
  const program = args[0] ?? '';
  return program.includes('/sbin/init') || posix.basename(program) === 'systemd';
}

/** `process.cwd` [F16]. A directory below another process' /proc entry would be one of the host's [a06]. */
export function workingDirectory(requested: string, image: string): string {
  const chosen = requested || image || '/';
  const cwd = chosen.startsWith('/') ? chosen : `/${chosen}`;
  if (cwd.includes('\0') || Buffer.byteLength(cwd) > 4095)
    throw new Failure('InvalidArgument', `working directory ${JSON.stringify(cwd.slice(0, 80))} is not a valid path`);
  if (/^\/proc\/(self|thread-self|\d+)(\/|$)/.test(posix.normalize(cwd)))
    throw new Failure('InvalidArgument', `working directory "${cwd}" points into a process of the host`, {
      advice: 'Choose a directory of the container, not one below /proc/<pid>.',
    });
  return cwd;
}

/** Pod annotation `umask.crio.io`: 1–4 octal digits [F18, G105]. */
export function umaskOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[0-7]{1,4}$/.test(text)) throw new Failure('Unknown', `invalid umask string ${text}`);
  return Number.parseInt(text, 8);
}

/** `process.rlimits` [F41, L41]; hard limits above what we may set are lowered, with a warning [p61]. */
export function buildRlimits(settings: SpecSettings, host: HostFacts, warnings: string[]): OciRlimit[] {
  const { defaultUlimits, nofileFallback } = settings;
  const wanted = defaultUlimits.map((u) => ({ ...u, told: true }));
  if (nofileFallback !== undefined && !wanted.some((u) => u.name === 'nofile'))
    wanted.push({ name: 'nofile', ...nofileFallback, told: false });
  return wanted.map(({ name, soft, hard, told }) => {
    const type = `RLIMIT_${name.toUpperCase()}`;
    const ceiling = host.rlimitCeilings.get(type);
    if (ceiling === undefined || hard <= ceiling) return { type, hard, soft };
    if (told) warnings.push(`ulimit ${name}=${soft}:${hard} is above our own hard limit, using ${ceiling}`);
    return { type, hard: ceiling, soft: soft < ceiling ? soft : ceiling };
  });
}

/** `process.oomScoreAdj`, raised to the lowest that we may set, with a warning. */
export function clampOomScore(wanted: bigint, host: HostFacts, warnings: string[]): number {
  if (wanted < -1000n || wanted > 1000n) throw new Failure('InvalidArgument', `oom_score_adj ${wanted} is not between -1000 and 1000`);
  if (wanted >= BigInt(host.lowestOomScoreAdj)) return Number(wanted);
  warnings.push(`oom_score_adj ${wanted} needs CAP_SYS_RESOURCE, using ${host.lowestOomScoreAdj}`);
  return host.lowestOomScoreAdj;
}

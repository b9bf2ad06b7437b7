import { existsSync, readFileSync, readdirSync, statfsSync } from 'node:fs';
import { release } from 'node:os';
import { Failure } from '../../errors/index.ts';
import { type Architecture, capabilitiesOfMask, isApparmorEnabled, isSelinuxEnabled, readHostCapabilities } from '../../security/index.ts';
import type { HostFacts } from '../spec/index.ts';

const CGROUP_ROOT = '/sys/fs/cgroup';
const CGROUP2_MAGIC = 0x63677270;
const ARCHITECTURES: Readonly<Partial<Record<NodeJS.Architecture, Architecture>>> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm',
  ia32: '386',
  ppc64: 'ppc64le',
  s390x: 's390x',
  riscv64: 'riscv64',
  loong64: 'loong64',
};

/** /proc/self/limits' words for the kernel's names. */
const LIMITS: Readonly<Record<string, string>> = {
  'Max cpu time': 'CPU',
  'Max file size': 'FSIZE',
  'Max data size': 'DATA',
  'Max stack size': 'STACK',
  'Max core file size': 'CORE',
  'Max resident set': 'RSS',
  'Max processes': 'NPROC',
  'Max open files': 'NOFILE',
  'Max locked memory': 'MEMLOCK',
  'Max address space': 'AS',
  'Max file locks': 'LOCKS',
  'Max pending signals': 'SIGPENDING',
  'Max msgqueue size': 'MSGQUEUE',
  'Max nice priority': 'NICE',
  'Max realtime priority': 'RTPRIO',
  'Max realtime timeout': 'RTTIME',
};

/** Looks at the node once, at start: a dozen short synchronous reads of /proc and /sys [L26–L30, G1, K18]. */
export function readHostFacts(): HostFacts {
  const architecture = ARCHITECTURES[process.arch];
  if (architecture === undefined) throw new Failure('Unimplemented', `this architecture (${process.arch}) is not supported`);
  const cgroupVersion = statfsSync(CGROUP_ROOT).type === CGROUP2_MAGIC ? 2 : 1;
  const { known, bounding } = readHostCapabilities();
  const privileged = mayRaiseLimits();
  return {
    architecture,
    cgroupVersion,
    swapAccounting: hasSwapAccounting(cgroupVersion),
    hugetlb: hasController('hugetlb', cgroupVersion),
    pidsController: hasController('pids', cgroupVersion),
    selinux: isSelinuxEnabled(),
    apparmor: isApparmorEnabled(),
    seccomp: existsSync('/proc/sys/kernel/seccomp/actions_avail'),
    kernelVersion: release(),
    capabilities: known,
    boundingSet: bounding,
    lowestOomScoreAdj: privileged ? -1000 : Number(readFileSync('/proc/self/oom_score_adj', 'utf8')),
    rlimitCeilings: rlimitCeilings(privileged),
    mqueue: existsSync('/dev/mqueue'),
    thermalThrottlePaths: thermalThrottlePaths(),
  };
}

/** CAP_SYS_RESOURCE counts in the initial user namespace only. */
function mayRaiseLimits(): boolean {
  const status = readFileSync('/proc/self/status', 'utf8');
  const effective = capabilitiesOfMask(/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0');
  const initial = /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'));
  return initial && effective.has('CAP_SYS_RESOURCE');
}

/** Hard limits that we cannot pass; for open files fs.nr_open binds even the mightiest. */
function rlimitCeilings(privileged: boolean): Map<string, bigint> {
  const ceilings = privileged ? new Map<string, bigint>() : hardLimits(readFileSync('/proc/self/limits', 'utf8'));
  const most = BigInt(readFileSync('/proc/sys/fs/nr_open', 'utf8').trim());
  const own = ceilings.get('RLIMIT_NOFILE');
  ceilings.set('RLIMIT_NOFILE', own === undefined || own > most ? most : own);
  return ceilings;
}

/** The third column of /proc/self/limits; `unlimited` is left out. */
export function hardLimits(text: string): Map<string, bigint> {
  const limits = new Map<string, bigint>();
  for (const line of text.split('\n')) {
    const name = LIMITS[line.slice(0, 26).trim()];
    const hard = line.slice(26).trim().split(/\s+/)[1];
    if (name !== undefined && hard !== undefined && /^\d+$/.test(hard)) limits.set(`RLIMIT_${name}`, BigInt(hard));
  }
  return limits;
}

/** In the kernel and, on v1, mounted: a runtime fails on limits of a controller that is nowhere to be found. */
function hasController(name: string, version: 1 | 2): boolean {
  if (version === 2) return readFileSync(`${CGROUP_ROOT}/cgroup.controllers`, 'utf8').trim().split(' ').includes(name);
  const enabled = readFileSync('/proc/cgroups', 'utf8')
    .split('\n')
    .some((line) => {
      const fields = line.split('\t');
      return fields[0] === name && fields[3] === '1';
    });
  return enabled && existsSync(`${CGROUP_ROOT}/${name}`);
}

/** v1: the memsw files exist; v2: our own cgroup counts swap, or, where we are the root, any child does [L29]. */
function hasSwapAccounting(version: 1 | 2): boolean {
  if (version === 1) return existsSync(`${CGROUP_ROOT}/memory/memory.memsw.limit_in_bytes`);
  const own = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  if (existsSync(`${CGROUP_ROOT}${own}/memory.swap.current`)) return true;
  return readdirSync(`${CGROUP_ROOT}${own}`, { withFileTypes: true }).some(
    (entry) => entry.isDirectory() && existsSync(`${CGROUP_ROOT}${own}/${entry.name}/memory.swap.current`),
  );
}

/** They tell how hot the node is, and so what runs on it [F49]. */
function thermalThrottlePaths(): string[] {
  const cpus = '/sys/devices/system/cpu';
  if (!existsSync(cpus)) return [];
  return readdirSync(cpus)
    .filter((name) => /^cpu\d+$/.test(name))
    .map((name) => `${cpus}/${name}/thermal_throttle`)
    .filter((path) => existsSync(path))
    .sort();
}

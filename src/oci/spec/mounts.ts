import { annotationValue } from './annotation-keys.ts';
import type { ContainerSpecInput, HostFacts, SandboxSpecInput } from './input.ts';
import { MountList, cleanPath, sortByDepth } from './mount-list.ts';
import { NamespaceMode } from './request.ts';
import type { OciMount } from './types.ts';

const SYSFS = { destination: '/sys', type: 'sysfs', source: 'sysfs' } as const;
const CGROUP = { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup' } as const;
const NO_EXTRAS = ['nosuid', 'noexec', 'nodev'] as const;

/** What every spec starts with, but /dev/shm, which is always the pod's [F1]. */
function baseMounts(): OciMount[] {
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: [...NO_EXTRAS] },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'] },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: [...NO_EXTRAS] },
    { ...SYSFS, options: [...NO_EXTRAS, 'ro'] },
  ];
}

function bind(destination: string, source: string, options: readonly string[]): OciMount {
  return { destination, type: 'bind', source, options: [...options] };
}

export interface MountContext {
  readonly privileged: boolean;
  readonly readonlyRoot: boolean;
  readonly systemd: boolean;
}

/** `mounts` of a container, in the order of F63. */
export function containerMounts(input: ContainerSpecInput, context: MountContext): OciMount[] {
  const requested = new Set([...input.mounts.binds, ...input.mounts.images].map((mount) => cleanPath(mount.destination)));
  const list = new MountList(baseMounts().filter((mount) => !replaced(mount.destination, requested)));
  if (input.settings.readOnly) addReadOnlyTmpfs(list, requested);
  list.addAll(input.mounts.images);
  addSysMounts(list, input, context.privileged, requested);
  if (input.sandbox.idMappings !== undefined) addHostViews(list, hostViews(input), input.host, requested);
  addPodFiles(list, input, context.readonlyRoot, requested);
  if (context.privileged) list.makeWritable();
  if (context.systemd) addSystemdMounts(list, input, requested);
  list.addAll(input.userFiles);
  list.addAll(sortByDepth([...input.mounts.binds, ...input.volumes]));
  list.addAll(input.lateMounts);
  return list.toArray();
}

/** A CRI mount takes a default's place; one on /dev or /sys takes those below as well [F65]. */
function replaced(destination: string, requested: ReadonlySet<string>): boolean {
  if (requested.has(destination)) return true;
  return ['/dev', '/sys'].some((parent) => requested.has(parent) && destination.startsWith(`${parent}/`));
}

/** `read_only` of the configuration leaves somewhere to write [F53]. */
function addReadOnlyTmpfs(list: MountList, requested: ReadonlySet<string>): void {
  for (const [destination, mode] of [
    ['/run', '0755'],
    ['/tmp', '1777'],
    ['/var/tmp', '1777'],
  ] as const) {
    if (requested.has(destination)) continue;
    const options = ['rw', 'noexec', 'nosuid', 'nodev', 'tmpcopyup', `mode=${mode}`];
    list.add({ destination, type: 'tmpfs', source: 'tmpfs', options });
  }
}

/** /sys/fs/cgroup, then what host network and privilege change about /sys [F45, F66, F67, G95, L37]. */
function addSysMounts(list: MountList, input: ContainerSpecInput, privileged: boolean, requested: ReadonlySet<string>): void {
  if (requested.has('/sys')) return;
  const { sandbox, host } = input;
  const writable = host.cgroupVersion === 2 && annotationValue(sandbox.annotations, 'cgroup2-mount-hierarchy-rw.crio.io') === 'true';
  const cgroup = (access: string): OciMount => ({ ...CGROUP, options: [...NO_EXTRAS, 'relatime', access] });
  list.add(cgroup(writable ? 'rw' : 'ro'));
  const hostNetwork = sandbox.hostNetwork || input.config.linux?.securityContext?.namespaceOptions?.network === NamespaceMode.NODE;
  if (hostNetwork && sandbox.idMappings !== undefined) {
    const knowsRro = input.runtime.mountOptions?.has('rro') ?? input.runtime.recursiveReadOnly;
    list.add(bind('/sys', '/sys', [...NO_EXTRAS, knowsRro ? 'rro' : 'ro', 'rbind']));
  } else if (hostNetwork) {
    list.add({ ...SYSFS, options: [...NO_EXTRAS, 'ro'] });
    list.add(cgroup('ro'));
  }
  if (privileged) {
    list.add({ ...SYSFS, options: [...NO_EXTRAS, 'rw', 'rslave'] });
    list.add({ ...CGROUP, options: [...NO_EXTRAS, 'rw', 'relatime', 'rslave'] });
  }
}

/**
 * The kernel lets nobody mount the view of a namespace that is not his user namespace's own: where a pod with one shares the host's,
 * it is shown the host's mount [D90, G95].
 */
function addHostViews(
  list: MountList,
  shared: { readonly pid: boolean; readonly ipc: boolean },
  host: HostFacts,
  requested: ReadonlySet<string> = new Set(),
): void {
  const show = (path: string) => {
    if (!requested.has(path)) list.add(bind(path, path, ['rw', 'rbind', 'nodev', 'nosuid', 'noexec']));
  };
  if (shared.pid) show('/proc');
  if (shared.ipc && host.mqueue) show('/dev/mqueue');
  else if (shared.ipc && !requested.has('/dev/mqueue')) list.remove('/dev/mqueue');
}

function hostViews({ config, sandbox }: ContainerSpecInput) {
  const pid = config.linux?.securityContext?.namespaceOptions?.pid === NamespaceMode.NODE;
  return { pid, ipc: sandbox.namespaces.ipc === undefined };
}

/** Files of the pod's run directory, and the host's /etc/hosts with host network [F68–F70]. */
function addPodFiles(list: MountList, input: ContainerSpecInput, readonlyRoot: boolean, requested: ReadonlySet<string>): void {
  const { sandbox } = input;
  const access = readonlyRoot ? 'ro' : 'rw';
  if (sandbox.shmPath !== '') list.add(bind('/dev/shm', sandbox.shmPath, ['rw', 'bind']));
  if (sandbox.resolvPath !== '') list.add(bind('/etc/resolv.conf', sandbox.resolvPath, [access, 'bind', 'nodev', 'nosuid', 'noexec']));
  if (sandbox.hostnamePath !== '') list.add(bind('/etc/hostname', sandbox.hostnamePath, [access, 'bind']));
  if (sandbox.containerEnvPath !== '') list.add(bind('/run/.containerenv', sandbox.containerEnvPath, [access, 'bind']));
  if (sandbox.hostNetwork && !requested.has('/etc/hosts')) list.add(bind('/etc/hosts', '/etc/hosts', [access, 'bind']));
}

/** What systemd expects of a container manager [F71, L38]. */
function addSystemdMounts(list: MountList, input: ContainerSpecInput, requested: ReadonlySet<string>): void {
  for (const destination of ['/run', '/run/lock', '/tmp', '/var/log/journal']) {
    if (list.has(destination) || requested.has(destination)) continue;
    const options = ['rw', 'rprivate', 'noexec', 'nosuid', 'nodev', 'tmpcopyup'];
    list.add({ destination, type: 'tmpfs', source: 'tmpfs', options });
  }
  if (input.host.cgroupVersion === 2) {
    list.add({ ...CGROUP, options: ['private', 'rw'] });
  } else if (!['/sys/fs/cgroup', '/sys/fs', '/sys'].some((path) => requested.has(path))) {
    list.add(bind('/sys/fs/cgroup/systemd', '/sys/fs/cgroup/systemd', ['bind', 'nodev', 'noexec', 'nosuid']));
  }
}

/** Masked in systemd containers on cgroup v1: it names a program that the host's kernel runs [F71, G75]. */
export const SYSTEMD_MASKED = '/sys/fs/cgroup/systemd/release_agent';

/** `mounts` of the infra container, all read-only but /dev/shm [D47, D51, D54, G95]. */
export function sandboxMounts(input: SandboxSpecInput): OciMount[] {
  const options = input.config.linux?.securityContext?.namespaceOptions;
  const list = new MountList(baseMounts());
  const readonly = ['ro', 'bind', 'nodev', 'nosuid', 'noexec'];
  if (input.idMappings !== undefined) {
    if (options?.network === NamespaceMode.NODE) list.add(bind('/sys', '/sys', [...NO_EXTRAS, 'ro', 'rbind']));
    addHostViews(list, { pid: options?.pid === NamespaceMode.NODE, ipc: options?.ipc === NamespaceMode.NODE }, input.host);
  }
  if (input.resolvPath !== '') list.add(bind('/etc/resolv.conf', input.resolvPath, readonly));
  if (input.shmPath !== '') list.add(bind('/dev/shm', input.shmPath, ['rw', 'bind']));
  if (input.hostnamePath !== '') list.add(bind('/etc/hostname', input.hostnamePath, readonly));
  return list.toArray();
}

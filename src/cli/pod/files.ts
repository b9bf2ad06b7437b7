/** Directories that `crio run` makes on the node for a pod: emptyDir volumes and what hostPath volumes ask for. */
import { chmod, chown, mkdir, open, readFile, realpath, rm, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { Failure, codeOf, wrap } from '../../errors/index.ts';
import type { MountSources, Pod, PodContainer, PodVolume } from '../manifest/index.ts';

export const DEFAULT_STATE_DIR = '/var/lib/crio/run-pods';

export const stateDirOption = {
  'state-dir': {
    type: 'string',
    value: 'DIR',
    help: `Where emptyDir volumes lie, a directory for each pod (default: ${DEFAULT_STATE_DIR}).`,
  },
} as const;

/** The uid becomes a directory's name and comes from whoever made the pod. */
const UID = /^[A-Za-z0-9][-A-Za-z0-9_.]{0,63}$/;

/** Volumes of a pod by name, as paths of the node. */
export type Volumes = ReadonlyMap<string, string>;

/** Makes the emptyDir volumes and checks or makes what the hostPath volumes name. Failure: the first that does not fit. */
export async function prepareVolumes(pod: Pod, uid: string, stateDir: string): Promise<Volumes> {
  const volumes = new Map<string, string>();
  for (const volume of pod.spec.volumes) {
    if (volume.hostPath !== undefined) {
      await prepareHostPath(volume.name, volume.hostPath);
      volumes.set(volume.name, volume.hostPath.path);
    } else {
      volumes.set(volume.name, await makeEmptyDir(join(stateDir, uid, 'volumes', volume.name), pod.spec.securityContext?.fsGroup));
    }
  }
  return volumes;
}

/** For everybody, as Kubernetes has it; with fsGroup for its members, who pass the group on to what they make. */
async function makeEmptyDir(path: string, fsGroup: number | undefined): Promise<string> {
  await mkdir(path, { recursive: true, mode: 0o750 });
  if (fsGroup !== undefined) await chown(path, 0, fsGroup);
  await chmod(path, fsGroup === undefined ? 0o777 : 0o2777);
  return path;
}

type HostPath = NonNullable<PodVolume['hostPath']>;

async function prepareHostPath(volume: string, { path, type }: HostPath): Promise<void> {
  try {
    if (type === '') return;
    if (type === 'DirectoryOrCreate') await mkdir(path, { recursive: true, mode: 0o755 });
    if (type === 'FileOrCreate') await (await open(path, 'a', 0o644)).close();
    const found = await stat(path);
    const fits = {
      DirectoryOrCreate: found.isDirectory(),
      Directory: found.isDirectory(),
      FileOrCreate: found.isFile(),
      File: found.isFile(),
      Socket: found.isSocket(),
      CharDevice: found.isCharacterDevice(),
      BlockDevice: found.isBlockDevice(),
    }[type];
    if (!fits) throw new Failure('FailedPrecondition', `${path} is not of type ${type}`);
  } catch (error) {
    throw wrap(`volume ${volume}`, error, 'FailedPrecondition');
  }
}

/** What each mount of a container shows; the directory of a subPath is made where it is missing, links are resolved. */
export async function mountSources(container: PodContainer, volumes: Volumes): Promise<MountSources> {
  const sources: string[] = [];
  for (const mount of container.volumeMounts) {
    const volume = volumes.get(mount.name) ?? '';
    sources.push(mount.subPath === '' ? volume : await subPathOf(container.name, volume, mount.subPath));
  }
  return sources;
}

/** An earlier container may have put a link there that leads out of the volume. */
async function subPathOf(container: string, volume: string, subPath: string): Promise<string> {
  const root = await realpath(volume);
  let path = root;
  for (const part of subPath.split('/').filter((name) => name !== '' && name !== '.')) {
    try {
      path = await realpath(join(path, part));
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw wrap(`container ${container}: subPath ${subPath}`, error);
      path = join(path, part);
      await mkdir(path, { mode: 0o750 });
    }
    if (path !== root && !path.startsWith(root === sep ? sep : root + sep)) {
      throw new Failure('FailedPrecondition', `container ${container}: subPath ${subPath} leads out of its volume, to ${path}`);
    }
  }
  return path;
}

/** Takes away what `prepareVolumes` made below the state directory; nothing if the pod was not made by `crio run`. */
export async function removePodFiles(stateDir: string, uid: string): Promise<void> {
  if (!UID.test(uid)) return;
  const directory = join(stateDir, uid);
  try {
    const real = await realpath(directory);
    // Deleting would go on into whatever a container has mounted there and let the host see.
    const mounted = (await mountPoints()).find((mountPoint) => mountPoint.startsWith(`${real}/`));
    if (mounted !== undefined) {
      throw new Failure('FailedPrecondition', `something is still mounted at ${mounted}`, { advice: `Unmount it, then remove ${real}.` });
    }
    await rm(real, { recursive: true, force: true });
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}

/** The fifth word of a line of mountinfo, in which blanks and the like stand as octal numbers. */
async function mountPoints(): Promise<string[]> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).trimEnd().split('\n');
  return lines.map((line) =>
    (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
  );
}

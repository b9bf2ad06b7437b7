import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { posix } from 'node:path';
import { Failure, codeOf, textOf } from '../../errors/index.ts';
import type { Device, OciDevice, OciDeviceCgroup, ResolvedDevices } from '../spec/index.ts';

/** Not handed on with the host's devices [F104]. */
const SKIPPED_DIRECTORIES = new Set(['pts', 'shm', 'fd', 'mqueue', '.lxc', '.lxd-mounts', '.udev']);

export interface ConfiguredDevice {
  readonly source: string;
  readonly destination: string;
  readonly permissions: string;
}

export interface DeviceRequest {
  /** `additional_devices`. */
  readonly additional: readonly string[];
  /** Pod annotation `devices.crio.io`, if it is allowed [G79]. */
  readonly annotation: string | undefined;
  /** `allowed_devices`, for the annotation only [F103, G78]. */
  readonly allowed: readonly string[];
  readonly privileged: boolean;
  /** The handler's `privileged_without_host_devices` [K20]. */
  readonly withoutHostDevices: boolean;
  readonly requested: readonly Device[];
  /** run_as ids with `device_ownership_from_security_context`; 0 and absent keep the node's own [G83]. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
}

/** A container's device nodes and cgroup rules, in F101's order; a path given twice is the later one [F101–F108, G76–G83]. */
export async function resolveDevices(request: DeviceRequest): Promise<ResolvedDevices> {
  const devices = new Map<string, OciDevice>();
  const rules: OciDeviceCgroup[] = [];
  const add = (device: OciDevice, access: string) => {
    devices.delete(device.path);
    devices.set(device.path, device);
    rules.push({ allow: true, type: device.type, major: device.major, minor: device.minor, access });
  };
  const fromAnnotation = (request.annotation ?? '')
    .split(',')
    .filter((entry) => entry !== '')
    .map(parseDevice);
  for (const { source } of fromAnnotation)
    if (!request.allowed.includes(source)) throw new Failure('Unknown', `device ${source} is specified but is not in allowed_devices`);
  for (const configured of [...request.additional.filter((entry) => entry !== '').map(parseDevice), ...fromAnnotation])
    add(await configuredNode(configured), configured.permissions);
  const allowAll = request.privileged && !request.withoutHostDevices;
  if (allowAll) for (const device of await nodesBelow('/dev', '/dev')) add(device, 'rwm');
  for (const device of request.requested) for (const node of await requestedNodes(device, request)) add(node, device.permissions || 'rwm');
  return { devices: [...devices.values()], rules, allowAll };
}

/** `src[:dst][:rwm]` [F102, G77]. */
export function parseDevice(text: string): ConfiguredDevice {
  const parts = text.split(':');
  const [source = '', second, third] = parts;
  if (parts.length > 3 || source === '') throw new Failure('Unknown', `invalid device specification: ${text}`);
  if (second === undefined) return { source, destination: source, permissions: 'rwm' };
  if (third === undefined && isMode(second)) return { source, destination: source, permissions: second };
  if (!second.startsWith('/dev/')) throw new Failure('Unknown', `invalid device mode: ${second}`);
  if (third !== undefined && !isMode(third)) throw new Failure('Unknown', `invalid device mode: ${third}`);
  return { source, destination: second, permissions: third ?? 'rwm' };
}

function isMode(text: string): boolean {
  return /^[rwm]{1,3}$/.test(text) && new Set(text).size === text.length;
}

async function configuredNode({ source, destination }: ConfiguredDevice): Promise<OciDevice> {
  try {
    const node = await nodeAt(source, destination);
    if (node !== undefined) return node;
  } catch (error) {
    const reason = codeOf(error) === 'ENOENT' ? 'no such file or directory' : textOf(error);
    throw new Failure('Unknown', `${source} is not a valid device: ${reason}`, { cause: error });
  }
  throw new Failure('Unknown', `${source} is not a valid device: not a device node`);
}

/** A node, or every node below a directory; what is neither, or missing, is left out without a word [F105–F108]. */
async function requestedNodes(device: Device, request: DeviceRequest): Promise<OciDevice[]> {
  const { hostPath, containerPath } = device;
  if (request.privileged && containerPath !== hostPath && existsSync(containerPath))
    throw new Failure('Unknown', 'privileged container was configured with a device container path that already exists on the host');
  try {
    const info = await stat(hostPath);
    if (info.isDirectory()) return await nodesBelow(hostPath, containerPath);
    const node = await nodeAt(hostPath, containerPath);
    if (node === undefined) return [];
    const { owner } = request;
    return [{ ...node, ...(owner?.uid ? { uid: owner.uid } : {}), ...(owner?.gid ? { gid: owner.gid } : {}) }];
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return [];
    throw error;
  }
}

async function nodesBelow(directory: string, renamed: string): Promise<OciDevice[]> {
  const nodes: OciDevice[] = [];
  const entries = await readdir(directory, { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = posix.join(directory, entry.name);
    const target = posix.join(renamed, entry.name);
    if (entry.isDirectory()) {
      if (!SKIPPED_DIRECTORIES.has(entry.name)) nodes.push(...(await nodesBelow(path, target)));
    } else if ((entry.isBlockDevice() || entry.isCharacterDevice()) && entry.name !== 'console') {
      const node = await nodeAt(path, target);
      if (node !== undefined) nodes.push(node);
    }
  }
  return nodes;
}

/** The node a path leads to; undefined for what is no device, or is 0:0 (an overlay's whiteout). */
async function nodeAt(path: string, destination: string): Promise<OciDevice | undefined> {
  const info = await stat(path, { bigint: true });
  if (!info.isBlockDevice() && !info.isCharacterDevice()) return undefined;
  const { major, minor } = numbersOf(info.rdev);
  if (major === 0 && minor === 0) return undefined;
  return { path: destination, type: info.isBlockDevice() ? 'b' : 'c', major, minor, uid: Number(info.uid), gid: Number(info.gid) };
}

/** dev_t as Linux packs it. */
function numbersOf(device: bigint): { major: number; minor: number } {
  return {
    major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)),
    minor: Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n)),
  };
}

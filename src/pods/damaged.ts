import { posix } from 'node:path';
import { toRfc3339 } from '../clock/index.ts';
import { isNamespaceFile } from '../linux/index.ts';
import { type OciSpec, decodeSpec } from '../oci/spec/index.ts';
import type { ContainerRecord } from '../storage/index.ts';
import type { PodContext } from './context.ts';

/** The metadata of a record of ours, as CRI-O writes it (docs/reference/cri-o-ondisk.md §1.4). */
interface Metadata {
  readonly 'pod-name': string;
  readonly 'pod-id': string;
  readonly name?: string;
  readonly 'metadata-name'?: string;
  readonly uid?: string;
  readonly namespace?: string;
  readonly attempt?: number;
  readonly 'created-at'?: number;
  readonly 'image-name'?: string;
}

const P = 'io.kubernetes.cri-o.';

/** What a pod's config.json must have said, from its record in the storage: enough to list it as stopped and to remove all of it. */
export async function damagedSandboxSpec(ctx: PodContext, record: ContainerRecord): Promise<OciSpec> {
  const metadata = JSON.parse(record.metadata) as Metadata;
  const { 'pod-name': name, 'metadata-name': podName = '', uid = '', namespace = '', attempt } = metadata;
  const knownTo = await runtimeOf(ctx, record.id);
  const { netns, cgroupParent } = (await ctx.network.remembered(record.id)) ?? { netns: '', cgroupParent: '' };
  const runDirectory = ctx.store.containerRunDirectory(record.id);
  const labels = kubernetesLabels({ name: podName, uid, namespace, container: 'POD' });
  return minimal(
    {
      ...common(metadata, labels),
      [`${P}Metadata`]: JSON.stringify({ name: podName, uid, namespace, ...(attempt === undefined ? {} : { attempt }) }),
      [`${P}Name`]: name,
      [`${P}ContainerName`]: metadata.name ?? '',
      [`${P}PortMappings`]: '[]',
      [`${P}NamespaceOptions`]: '{}',
      [`${P}Namespace`]: namespace,
      [`${P}ShmPath`]: posix.join(runDirectory, 'shm'),
      [`${P}RuntimeHandler`]: knownTo ?? '',
      [`${P}CgroupParent`]: cgroupParent,
      'spoofed.crio.io': knownTo === undefined ? 'true' : 'false',
    },
    netns === '' ? [] : [{ type: 'network', path: netns }, ...pinsBeside(netns)],
  );
}

/** As `damagedSandboxSpec` for a container; its pod must be there. */
export function damagedContainerSpec(record: ContainerRecord): { readonly spec: OciSpec; readonly podId: string } {
  const metadata = JSON.parse(record.metadata) as Metadata;
  const { 'metadata-name': name = '', attempt } = metadata;
  const [, pod = '', namespace = '', uid = ''] = metadata['pod-name'].split('_');
  const labels = kubernetesLabels({ name: pod, uid, namespace, container: name });
  const spec = minimal(
    {
      ...common(metadata, labels),
      [`${P}Metadata`]: JSON.stringify({ name, ...(attempt === undefined ? {} : { attempt }) }),
      [`${P}Name`]: metadata.name ?? '',
      [`${P}ImageRef`]: record.image ?? '',
      [`${P}Image`]: metadata['image-name'] ?? '',
    },
    [{ type: 'pid' }],
  );
  return { spec, podId: metadata['pod-id'] };
}

/** The handler whose runtime knows a container of that id: then there is a pause process. */
async function runtimeOf(ctx: PodContext, id: string): Promise<string | undefined> {
  for (const runtime of ctx.runtimes.list()) if ((await runtime.view(id)) !== undefined) return runtime.handler.name;
  return undefined;
}

/** A pod's pins carry one uuid. */
function pinsBeside(netns: string): OciSpec['linux']['namespaces'][number][] {
  const [, directory, uuid] = /^(.*)\/netns\/([^/]+)$/.exec(netns) ?? [];
  if (uuid === undefined) return [];
  const user = `${directory}/userns/${uuid}`;
  const beside = (['ipc', 'uts'] as const).map((type) => ({ type, path: `${directory}/${type}ns/${uuid}` }));
  return isNamespaceFile(user) ? [...beside, { type: 'user', path: user }] : beside;
}

/** What a kubelet finds its pods and containers by. */
function kubernetesLabels(of: { readonly name: string; readonly uid: string; readonly namespace: string; readonly container: string }) {
  return {
    'io.kubernetes.container.name': of.container,
    'io.kubernetes.pod.name': of.name,
    'io.kubernetes.pod.namespace': of.namespace,
    'io.kubernetes.pod.uid': of.uid,
  };
}

function common(metadata: Metadata, labels: Readonly<Record<string, string>>): Record<string, string> {
  return {
    [`${P}Labels`]: JSON.stringify(labels),
    [`${P}Annotations`]: '{}',
    [`${P}Created`]: toRfc3339(BigInt(metadata['created-at'] ?? 0) * 1_000_000_000n),
  };
}

function minimal(
  annotations: Readonly<Record<string, string>>,
  namespaces: readonly { readonly type: string; readonly path?: string }[],
): OciSpec {
  const process = { user: { uid: 0, gid: 0 }, args: [], env: [], cwd: '/' };
  return decodeSpec(JSON.stringify({ ociVersion: '1.0.2', process, root: { path: '' }, annotations, linux: { namespaces } }));
}

/** The part of a Kubernetes Pod that can run without a kubelet. What is not written here is refused by name. */
import {
  type Decoded,
  type Decoder,
  boolean,
  integer,
  listOf,
  mapOf,
  matching,
  object,
  oneOf,
  optional,
  text,
  withDefault,
  wrong,
} from './decode.ts';
import { bytes, milliCpu } from './quantity.ts';

const KUBELET = 'only a kubelet does this';
const API_SERVER = 'it needs an API server';

const MAX_ID = 2 ** 31 - 1;
/** RFC 1123: names of pods become host names, names of containers and volumes become directories. */
const label = matching(/^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/, 'a name of small letters, digits and hyphens, at most 63');
const subdomain = matching(
  /^(?=.{1,253}$)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/,
  'a name of small letters, digits, hyphens and dots',
);
const uid = matching(/^[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,62}[A-Za-z0-9])?$/, 'a uid such as a UUID');
const absolutePath = matching(/^\/[^\0]*$/, 'an absolute path');
const id = integer(0, MAX_ID);

const envVar = object({
  name: matching(/^[^=\0]+$/, 'a name without ='),
  value: optional(text),
  valueFrom: optional(
    object(
      { fieldRef: optional(object({ fieldPath: text, apiVersion: withDefault(text, 'v1') })) },
      { unsupported: { configMapKeyRef: API_SERVER, secretKeyRef: API_SERVER, resourceFieldRef: KUBELET, fileKeyRef: KUBELET } },
    ),
  ),
});

const port = object({
  name: optional(text),
  containerPort: integer(1, 65_535),
  hostPort: optional(integer(0, 65_535)),
  hostIP: optional(text),
  protocol: withDefault(oneOf('TCP', 'UDP', 'SCTP'), 'TCP'),
});

const volumeMount = object(
  {
    name: label,
    mountPath: absolutePath,
    readOnly: withDefault(boolean, false),
    recursiveReadOnly: withDefault(oneOf('Disabled', 'IfPossible', 'Enabled'), 'Disabled'),
    mountPropagation: withDefault(oneOf('None', 'HostToContainer', 'Bidirectional'), 'None'),
    subPath: withDefault(relativePath(), ''),
  },
  { unsupported: { subPathExpr: 'write the path as subPath' } },
);

/** A path that stays below where it starts. */
function relativePath(): Decoder<string> {
  return (value, path) => {
    const found = text(value, path);
    if (found.startsWith('/') || found.includes('\0') || found.split('/').includes('..'))
      throw wrong(path, `expected a relative path without .., found ${JSON.stringify(found)}`);
    return found;
  };
}

const resourceList = object(
  { cpu: optional(milliCpu), memory: optional(bytes), 'hugepages-2Mi': optional(bytes), 'hugepages-1Gi': optional(bytes) },
  { unsupported: { 'ephemeral-storage': KUBELET } },
);
const noResources: Decoded<typeof resourceList> = {
  cpu: undefined,
  memory: undefined,
  'hugepages-2Mi': undefined,
  'hugepages-1Gi': undefined,
};
const resources = object(
  { requests: withDefault(resourceList, noResources), limits: withDefault(resourceList, noResources) },
  { unsupported: { claims: API_SERVER } },
);

const profile = object({ type: oneOf('RuntimeDefault', 'Unconfined', 'Localhost'), localhostProfile: optional(text) });
const seLinuxOptions = object({
  user: withDefault(text, ''),
  role: withDefault(text, ''),
  type: withDefault(text, ''),
  level: withDefault(text, ''),
});

/** What pod and container may both say; the container's word counts. */
const sharedSecurity = {
  runAsUser: optional(id),
  runAsGroup: optional(id),
  runAsNonRoot: optional(boolean),
  seccompProfile: optional(profile),
  appArmorProfile: optional(profile),
  seLinuxOptions: optional(seLinuxOptions),
};

const podSecurity = object(
  {
    ...sharedSecurity,
    fsGroup: optional(id),
    supplementalGroups: listOf(id),
    supplementalGroupsPolicy: withDefault(oneOf('Merge', 'Strict'), 'Merge'),
    sysctls: listOf(
      object({
        name: matching(/^[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?(?:[./][a-z0-9](?:[-_a-z0-9]*[a-z0-9])?)*$/, 'the name of a sysctl'),
        value: text,
      }),
    ),
  },
  { unsupported: { windowsOptions: 'this is Linux', seLinuxChangePolicy: KUBELET, fsGroupChangePolicy: KUBELET } },
);

const containerSecurity = object(
  {
    ...sharedSecurity,
    privileged: withDefault(boolean, false),
    capabilities: withDefault(object({ add: listOf(text), drop: listOf(text) }), { add: [], drop: [] }),
    readOnlyRootFilesystem: withDefault(boolean, false),
    allowPrivilegeEscalation: optional(boolean),
    procMount: withDefault(oneOf('Default', 'Unmasked'), 'Default'),
  },
  { unsupported: { windowsOptions: 'this is Linux' } },
);

const container = object(
  {
    name: label,
    image: matching(/\S/, 'the name of an image'),
    imagePullPolicy: optional(oneOf('Always', 'IfNotPresent', 'Never')),
    command: listOf(text),
    args: listOf(text),
    workingDir: withDefault(text, ''),
    env: listOf(envVar),
    ports: listOf(port),
    resources: withDefault(resources, { requests: noResources, limits: noResources }),
    volumeMounts: listOf(volumeMount),
    securityContext: optional(containerSecurity),
    restartPolicy: optional(oneOf('Always')),
    stdin: withDefault(boolean, false),
    stdinOnce: withDefault(boolean, false),
    tty: withDefault(boolean, false),
  },
  {
    unsupported: {
      envFrom: API_SERVER,
      lifecycle: KUBELET,
      livenessProbe: KUBELET,
      readinessProbe: KUBELET,
      startupProbe: KUBELET,
      volumeDevices: KUBELET,
      resizePolicy: KUBELET,
      restartPolicyRules: KUBELET,
    },
    // Where the kubelet looks for a last message: nobody looks here.
    ignored: ['terminationMessagePath', 'terminationMessagePolicy'],
  },
);

const volume = object(
  {
    name: label,
    hostPath: optional(
      object({
        path: absolutePath,
        type: withDefault(oneOf('', 'DirectoryOrCreate', 'Directory', 'FileOrCreate', 'File', 'Socket', 'CharDevice', 'BlockDevice'), ''),
      }),
    ),
    emptyDir: optional(
      object({ medium: withDefault(mediumOnDisk(), '') }, { unsupported: { sizeLimit: 'only a kubelet watches how full it is' } }),
    ),
  },
  {
    unsupported: {
      configMap: API_SERVER,
      secret: API_SERVER,
      projected: API_SERVER,
      downwardAPI: KUBELET,
      persistentVolumeClaim: API_SERVER,
      ephemeral: API_SERVER,
      csi: KUBELET,
      nfs: 'mount it on the node and use hostPath',
      iscsi: 'mount it on the node and use hostPath',
      image: 'crio run does not mount images',
    },
  },
);

function mediumOnDisk(): Decoder<''> {
  return (value, path) => {
    if (value === '') return '';
    throw wrong(
      path,
      `${JSON.stringify(value)} is not supported: emptyDir lies on disk here`,
      'Mount a tmpfs on the node and use hostPath, or leave medium out.',
    );
  };
}

const podSpec = object(
  {
    containers: listOf(container),
    initContainers: listOf(container),
    volumes: listOf(volume),
    securityContext: optional(podSecurity),
    hostNetwork: withDefault(boolean, false),
    hostPID: withDefault(boolean, false),
    hostIPC: withDefault(boolean, false),
    hostUsers: withDefault(onlyTrue(), true),
    shareProcessNamespace: withDefault(boolean, false),
    dnsPolicy: withDefault(oneOf('ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'), 'ClusterFirst'),
    dnsConfig: optional(
      object({ nameservers: listOf(text), searches: listOf(text), options: listOf(object({ name: text, value: optional(text) })) }),
    ),
    hostname: optional(label),
    restartPolicy: optional(oneOf('Always', 'OnFailure', 'Never')),
    terminationGracePeriodSeconds: withDefault(integer(0, MAX_ID), 30),
    runtimeClassName: withDefault(text, ''),
  },
  {
    unsupported: {
      activeDeadlineSeconds: KUBELET,
      ephemeralContainers: KUBELET,
      hostAliases: KUBELET,
      imagePullSecrets: 'the daemon has its own credentials (global_auth_file), and crio pull --username',
      overhead: KUBELET,
      readinessGates: KUBELET,
      resourceClaims: API_SERVER,
      resources: KUBELET,
      serviceAccount: API_SERVER,
      serviceAccountName: API_SERVER,
      setHostnameAsFQDN: 'there is no cluster domain',
      subdomain: 'there is no cluster domain',
    },
    // Who decides where a pod runs has decided: it is this node. And there are no services to tell of.
    ignored: [
      'affinity',
      'automountServiceAccountToken',
      'enableServiceLinks',
      'nodeName',
      'nodeSelector',
      'os',
      'preemptionPolicy',
      'priority',
      'priorityClassName',
      'schedulerName',
      'schedulingGates',
      'tolerations',
      'topologySpreadConstraints',
    ],
  },
);

function onlyTrue(): Decoder<boolean> {
  return (value, path) => {
    if (boolean(value, path)) return true;
    throw wrong(path, 'not supported: only a kubelet hands out ranges of user ids');
  };
}

export const pod = object(
  {
    kind: oneOf('Pod'),
    apiVersion: oneOf('v1'),
    metadata: object(
      {
        name: subdomain,
        namespace: withDefault(label, 'default'),
        uid: optional(uid),
        labels: mapOf(text),
        annotations: mapOf(text),
      },
      {
        unsupported: { generateName: 'give the pod a name' },
        // What an API server adds to a manifest that is read back from it.
        ignored: [
          'creationTimestamp',
          'deletionGracePeriodSeconds',
          'deletionTimestamp',
          'finalizers',
          'generation',
          'managedFields',
          'ownerReferences',
          'resourceVersion',
          'selfLink',
        ],
      },
    ),
    spec: podSpec,
  },
  { ignored: ['status'] },
);

export type Pod = Decoded<typeof pod>;
export type PodContainer = Decoded<typeof container>;
export type PodVolume = Decoded<typeof volume>;
export type Profile = Decoded<typeof profile>;
export type ContainerSecurity = Decoded<typeof containerSecurity>;
export type PodSecurity = Decoded<typeof podSecurity>;
export type ResourceList = Decoded<typeof resourceList>;

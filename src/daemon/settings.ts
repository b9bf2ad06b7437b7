import { type CommandLine, type Config, parseDuration, parseSysctls, parseUlimits } from '../config/index.ts';
import type { CreationSettings } from '../containers/index.ts';
import { Failure } from '../errors/index.ts';
import { type ImageSettings, defaultImageSettings } from '../images/index.ts';
import type { NetworkSettings } from '../network/index.ts';
import type { MonitorSettings } from '../oci/monitor/index.ts';
import type { SpecSettings } from '../oci/spec/index.ts';
import { type PodSettings, configuredMappings } from '../pods/index.ts';
import type { CgroupManagerName } from '../resources/index.ts';
import { type StreamingSettings, streamingPort } from '../server/index.ts';
import { CRIO_VERSION } from '../version/index.ts';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';

/** Layers that are fetched and unpacked at the same time, over all pulls [I41]. */
const LAYERS_AT_ONCE = 6;

/** Threads that they share: each costs some 15 MB and a tenth of a second to start, and one keeps a core busy. */
export const UNPACK_THREADS = Math.min(availableParallelism(), 3);

/** What each room is told of the configuration: the only place where its keys meet the rooms. */
export function cgroupManagerOf(config: Config): CgroupManagerName {
  const name = config.runtime.cgroupManager;
  if (name === 'systemd' || name === 'cgroupfs') return name;
  throw new Failure('InvalidArgument', `invalid cgroup_manager "${name}"`, { advice: 'Set cgroup_manager to systemd or cgroupfs.' });
}

export function monitorSettings(config: Config, place: MonitorSettings['place']): MonitorSettings {
  const { runtime } = config;
  return {
    exitsDir: runtime.containerExitsDir,
    attachSocketDir: runtime.containerAttachSocketDir,
    logLevel: runtime.logLevel,
    logSizeMax: Number(runtime.logSizeMax),
    logToJournald: runtime.logToJournald,
    noPivot: runtime.noPivot,
    systemdCgroup: runtime.cgroupManager === 'systemd',
    place,
  };
}

export function podSettings(config: Config): PodSettings {
  return {
    logDir: config.crio.logDir,
    namespacesDir: config.runtime.namespacesDir,
    pauseImage: config.image.pauseImage,
    pauseCommand: config.image.pauseCommand,
    dropInfraCtr: config.runtime.dropInfraCtr,
    defaultSysctls: parseSysctls(config.runtime.defaultSysctls),
    cgroupManager: cgroupManagerOf(config),
    sharedCpuset: config.runtime.sharedCpuset,
    userns: {
      mappings: configuredMappings(config.runtime.uidMappings, config.runtime.gidMappings),
      minimumUid: Number(config.runtime.minimumMappableUid),
      minimumGid: Number(config.runtime.minimumMappableGid),
    },
  };
}

export function creationSettings(config: Config): CreationSettings {
  const { runtime, image } = config;
  const volumes = image.imageVolumes;
  if (volumes !== 'mkdir' && volumes !== 'bind' && volumes !== 'ignore')
    throw new Failure('InvalidArgument', 'unrecognized image volume type specified');
  return {
    cgroupManager: cgroupManagerOf(config),
    imageVolumes: volumes,
    bindMountPrefix: runtime.bindMountPrefix,
    absentMountSourcesToReject: runtime.absentMountSourcesToReject,
    defaultMountsFile: runtime.defaultMountsFile,
    timezone: runtime.timezone,
    additionalDevices: runtime.additionalDevices,
    allowedDevices: runtime.allowedDevices,
    deviceOwnershipFromSecurityContext: runtime.deviceOwnershipFromSecurityContext,
    namespacesDir: runtime.namespacesDir,
    imageVolumesDir: join(dirname(runtime.containerExitsDir), 'image-volumes'),
  };
}

export function specSettings(config: Config): SpecSettings {
  const { runtime } = config;
  return {
    defaultEnv: runtime.defaultEnv,
    defaultCapabilities: runtime.defaultCapabilities,
    addInheritableCapabilities: runtime.addInheritableCapabilities,
    defaultUlimits: parseUlimits(runtime.defaultUlimits).map(({ name, soft, hard }) => ({
      name: name.replace(/^RLIMIT_/, '').toLowerCase(),
      soft,
      hard,
    })),
    // The same in every container, whoever started the daemon (p61); clamped to what we may grant.
    nofileFallback: { soft: 1048576n, hard: 1048576n },
    pidsLimit: BigInt(runtime.pidsLimit),
    readOnly: runtime.readOnly,
    systemdCgroups: runtime.cgroupManager === 'systemd',
    minInjectedGomaxprocs: Number(runtime.minInjectedGomaxprocs),
    infraCtrCpuset: runtime.infraCtrCpuset,
    oldAnnotationKeys: false,
  };
}

export function networkSettings(config: Config, env: NodeJS.ProcessEnv): NetworkSettings {
  const { network, runtime } = config;
  return {
    networkDir: network.networkDir,
    pluginDirs: network.pluginDirs,
    defaultNetwork: network.cniDefaultNetwork,
    statusGraceMs: Number(network.cniStatusGracePeriod),
    disableHostPortMapping: runtime.disableHostportMapping,
    environment: env,
    loopback: 'already-up', // NamespaceMaker brings it up.
  };
}

const STREAM_IDLE_TIMEOUT_MS = 4 * 60 * 60 * 1000;
const STREAM_CREATION_TIMEOUT_MS = 30_000;
/** A longer timer would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export function streamingSettings({ api }: Config): StreamingSettings {
  const idle = api.streamIdleTimeout === '' ? STREAM_IDLE_TIMEOUT_MS : parseDuration(api.streamIdleTimeout);
  if (idle === undefined || idle < 0) {
    throw new Failure('InvalidArgument', `unable to parse timeout as duration: stream_idle_timeout "${api.streamIdleTimeout}"`, {
      advice: 'Write a duration such as "4h" or "30m"; "0" is no limit.',
    });
  }
  return {
    address: api.streamAddress,
    port: streamingPort(api.streamPort),
    idleTimeoutMs: Math.min(idle, LONGEST_TIMER_MS),
    creationTimeoutMs: STREAM_CREATION_TIMEOUT_MS,
    ...tlsSettings(api),
  };
}

function tlsSettings(api: Config['api']): Pick<StreamingSettings, 'tls'> {
  if (!api.streamEnableTls) return {};
  const minVersion = api.tlsMinVersion === 'VersionTLS13' ? 'TLSv1.3' : 'TLSv1.2';
  const { streamTlsCert: certificate, streamTlsKey: key, streamTlsCa: ca, tlsCipherSuites } = api;
  return { tls: { certificate, key, ca, minVersion, cipherSuites: minVersion === 'TLSv1.3' ? [] : tlsCipherSuites } };
}

/** Paths of the command line are the only ones that count then [A139, A140]. */
export type RegistriesFlags = Pick<CommandLine, 'registriesConf' | 'registriesConfDir'>;

export function imageSettings(config: Config, env: NodeJS.ProcessEnv, flags: RegistriesFlags): ImageSettings {
  const { image, runtime } = config;
  const mode = image.shortNameMode;
  return {
    ...defaultImageSettings({ env, uid: process.getuid?.() ?? 0, version: CRIO_VERSION }),
    ...(flags.registriesConf === '' ? {} : { registriesConfFiles: [flags.registriesConf], registriesConfRequired: true }),
    ...(flags.registriesConfDir === '' ? {} : { registriesConfDirs: [flags.registriesConfDir] }),
    pauseImage: image.pauseImage,
    pinnedImages: image.pinnedImages,
    globalAuthFile: image.globalAuthFile,
    pauseImageAuthFile: image.pauseImageAuthFile,
    namespacedAuthDir: image.namespacedAuthDir,
    signaturePolicy: image.signaturePolicy,
    signaturePolicyDir: image.signaturePolicyDir,
    decryptionKeysPath: runtime.decryptionKeysPath,
    shortNameMode: mode === 'disabled' || mode === '' ? mode : 'enforcing',
    defaultTransport: image.defaultTransport,
    maxDownloads: LAYERS_AT_ONCE,
    ...config.pullOptions,
    pullProgressTimeoutMs: Number(image.pullProgressTimeout),
    artifactMounts: image.ociArtifactMountSupport,
  };
}

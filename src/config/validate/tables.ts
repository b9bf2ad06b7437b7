/** The tables beside [crio.runtime]. */
import { resolve } from 'node:path';
import { DEFAULT_MESSAGE_SIZE } from '../schema/index.ts';
import { formatDuration } from '../schema/index.ts';
import type { ApiConfig, CheckpointRestoreConfig, CrioConfig, ImageConfig, NetworkConfig, StatsConfig } from '../schema/index.ts';
import { type Message, invalid } from './check.ts';
import { isDirectory, lookPath, makeDirectory } from './disk.ts';
import { checkTls } from './tls.ts';

/** [B19, J7]; the store itself is opened, and its values taken over, by the daemon [B12]. */
export function validateRoot(crio: CrioConfig, onExecution: boolean): CrioConfig {
  if (!onExecution) return crio;
  if (!crio.logDir.startsWith('/')) throw invalid('log_dir is not an absolute path', 'Write log_dir from the root on.');
  makeDirectory(crio.logDir, 0o700, 'invalid log_dir', 'log_dir');
  if (crio.imagestore !== '' && resolve(crio.imagestore) === resolve(crio.root)) {
    throw invalid(
      `failed to get store to set defaults: imagestore ${crio.imagestore} must either be not set or be a different than graphroot`,
      'Leave imagestore empty, or set it to another directory than root.',
    );
  }
  return crio;
}

const LEVELS = ['none', 'checkpoint_only', 'checkpoint_restore'];

/** [A170, B79, B125, B126] */
export function validateCheckpoint(
  given: CheckpointRestoreConfig,
  enabled: boolean,
  path: string | undefined,
  onExecution: boolean,
  messages: Message[],
): CheckpointRestoreConfig {
  if (!enabled) {
    messages.push({
      level: 'warning',
      text: 'The config field enable_criu_support is deprecated. Please use the [crio.checkpoint_restore] table with container_level_enabled instead',
    });
  }
  const level = enabled ? given.containerLevelEnabled : 'none';
  if (!LEVELS.includes(level)) {
    throw invalid(
      `invalid container_level_enabled "${level}": must be one of "none", "checkpoint_only" or "checkpoint_restore"`,
      'Correct container_level_enabled in [crio.checkpoint_restore].',
    );
  }
  if (!onExecution) return { containerLevelEnabled: level };
  const info = (text: string) => messages.push({ level: 'info', text });
  if (level === 'none') info('Checkpoint/restore support disabled via configuration');
  else if (lookPath('criu', path) === undefined) {
    info('Checkpoint/restore support disabled: CRIU binary not found in $PATH');
    return { containerLevelEnabled: 'none' };
  } else info(`Checkpoint/restore support enabled (level: "${level}")`);
  return { containerLevelEnabled: level };
}

/** Host with an optional port, path in lower case, tag, digest: what a name in a registry is made of. */
const REFERENCE =
  /^(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::\d+)?\/)?[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*(?::\w[\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?$/;

/** [B129, B130, B135, B142] */
export function validateImage(image: ImageConfig, onExecution: boolean): ImageConfig {
  const directories = [
    ['signature policy', image.signaturePolicyDir, 'signature_policy_dir'],
    ['namespaced auth', image.namespacedAuthDir, 'namespaced_auth_dir'],
  ] as const;
  for (const [what, path, key] of directories) {
    if (!path.startsWith('/')) throw invalid(`${what} dir "${path}" is not absolute`, `Write ${key} from the root on.`);
    if (onExecution) makeDirectory(path, 0o755, `cannot create ${what} dir`, key);
  }
  if (image.pauseImage.length > 4096 || !REFERENCE.test(image.pauseImage)) {
    throw invalid(`invalid pause image "${image.pauseImage}": invalid reference format`, 'Write pause_image as registry/name:tag.');
  }
  if (!['enforcing', 'disabled', ''].includes(image.shortNameMode)) {
    throw invalid(`invalid short name mode "${image.shortNameMode}"`, 'Set short_name_mode to "enforcing" or "disabled".');
  }
  return image;
}

/** [B144–B147] */
export function validateNetwork(network: NetworkConfig, onExecution: boolean, messages: Message[]): NetworkConfig {
  if (network.cniStatusGracePeriod < 0) {
    throw invalid(
      `invalid cni_status_grace_period: must not be negative, got ${formatDuration(network.cniStatusGracePeriod)}`,
      'Set cni_status_grace_period to "0s" to turn it off.',
    );
  }
  if (!onExecution) return network;
  const { networkDir, pluginDir } = network;
  if (isDirectory(networkDir) === false) {
    throw invalid(`invalid network_dir: ${networkDir}: stat ${networkDir}: not a directory`, 'Set network_dir to a directory.');
  }
  makeDirectory(networkDir, 0o755, `cannot create network_dir: ${networkDir}`, 'network_dir');
  for (const directory of network.pluginDirs) makeDirectory(directory, 0o755, 'invalid plugin_dirs entry', 'plugin_dirs');
  if (pluginDir === '') return network;
  messages.push({ level: 'warning', text: 'The config field plugin_dir is being deprecated. Please use plugin_dirs instead' });
  makeDirectory(pluginDir, 0o755, 'invalid plugin_dir entry', 'plugin_dir');
  return { ...network, pluginDir: '', pluginDirs: [...network.pluginDirs, pluginDir] };
}

/** [B28, B32–B35]; the socket itself is the server's business. */
export function validateApi(api: ApiConfig, messages: Message[]): ApiConfig {
  checkTls(api, messages);
  return {
    ...api,
    grpcMaxSendMsgSize: api.grpcMaxSendMsgSize <= 0 ? DEFAULT_MESSAGE_SIZE : api.grpcMaxSendMsgSize,
    grpcMaxRecvMsgSize: api.grpcMaxRecvMsgSize <= 0 ? DEFAULT_MESSAGE_SIZE : api.grpcMaxRecvMsgSize,
  };
}

const POD_METRICS = ['cpu', 'disk', 'diskIO', 'hugetlb', 'memory', 'network', 'oom', 'process', 'spec', 'pressure'];

/** [B159] */
export function checkStats(stats: StatsConfig): void {
  const metrics = stats.includedPodMetrics;
  if (metrics.includes('all')) {
    if (metrics.length === 1) return;
    throw invalid("'all' should be only one element in included_pod_metrics", 'Write ["all"], or the single groups.');
  }
  const unknown = metrics.find((metric) => !POD_METRICS.includes(metric));
  if (unknown === undefined) return;
  throw invalid(
    `invalid pod metrics "${unknown}", available metrics: [${POD_METRICS.join(' ')}]`,
    'Correct included_pod_metrics in [crio.stats].',
  );
}

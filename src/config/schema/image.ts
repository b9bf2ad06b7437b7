import { type Rows, type ValuesOf, bool, duration, list, table, text } from './row.ts';

/** `[crio.checkpoint_restore]` [B125]. */
export const checkpointRestoreTable = table('crio.checkpoint_restore', 'Checkpoints of containers.', {
  container_level_enabled: text('checkpoint_restore', 'What is allowed: none, checkpoint_only or checkpoint_restore.', {
    flag: 'checkpoint-restore-container-level-enabled',
    env: 'CONTAINER_CHECKPOINT_RESTORE_CONTAINER_LEVEL_ENABLED',
  }),
} satisfies Rows);

export type CheckpointRestoreConfig = ValuesOf<(typeof checkpointRestoreTable)['rows']>;

/** `[crio.image]` [B127–B142]. */
export const imageTable = table('crio.image', 'How images are pulled, verified and kept.', {
  default_transport: text('docker://', 'Put before names of images that cannot be pulled as they are.', {
    flag: 'default-transport',
    env: 'CONTAINER_DEFAULT_TRANSPORT',
    honoured: true,
  }),
  global_auth_file: text('', 'Credentials of registries for pulls that bring none.', {
    flag: 'global-auth-file',
    env: 'CONTAINER_GLOBAL_AUTH_FILE',
    honoured: true,
  }),
  namespaced_auth_dir: text('/etc/crio/auth', 'Directory of credentials for single namespaces. Must be an absolute path.', {
    flag: 'namespaced-auth-dir',
    env: 'CONTAINER_NAMESPACED_AUTH_DIR',
    honoured: true,
    hidden: true,
  }),
  pause_image: text('registry.k8s.io/pause:3.10.1', "Image of the pods' own record and of pause processes; never garbage.", {
    flag: 'pause-image',
    env: 'CONTAINER_PAUSE_IMAGE',
    reloadable: true,
    honoured: true,
  }),
  pause_image_auth_file: text('', 'Credentials for the pause image.', {
    flag: 'pause-image-auth-file',
    env: 'CONTAINER_PAUSE_IMAGE_AUTH_FILE',
    reloadable: true,
    honoured: true,
  }),
  pause_command: text('/pause', "Command of pause processes. Empty: the image's own.", {
    flag: 'pause-command',
    env: 'CONTAINER_PAUSE_COMMAND',
    reloadable: true,
    honoured: true,
  }),
  pinned_images: list([], 'Images that the kubelet must not collect: a name, name* or *word*.', {
    flag: 'pinned-images',
    env: 'CONTAINER_PINNED_IMAGES',
    reloadable: true,
    honoured: true,
  }),
  signature_policy: text('', 'Policy file for signatures. Empty: /etc/containers/policy.json.', {
    flag: 'signature-policy',
    env: 'CONTAINER_SIGNATURE_POLICY',
    honoured: true,
  }),
  signature_policy_dir: text(
    '/etc/crio/policies',
    'Directory of policies for single namespaces, NAMESPACE.json. Must be an absolute path.',
    {
      flag: 'signature-policy-dir',
      honoured: true,
      env: 'CONTAINER_SIGNATURE_POLICY_DIR',
    },
  ),
  insecure_registries: list([], 'Without effect.', {
    flag: 'insecure-registry',
    env: 'CONTAINER_INSECURE_REGISTRY',
    deprecated: 'Use insecure of registries.conf.',
    honoured: true,
  }),
  image_volumes: text('mkdir', 'What becomes of volumes that an image declares: mkdir, bind or ignore.', {
    flag: 'image-volumes',
    env: 'CONTAINER_IMAGE_VOLUMES',
    honoured: true,
  }),
  big_files_temporary_dir: text('', 'Directory for parts of images while they are pulled. Empty: /var/tmp.', {
    flag: 'big-files-temporary-dir',
    env: 'CONTAINER_BIG_FILES_TEMPORARY_DIR',
  }),
  auto_reload_registries: bool(false, 'Changes below registries.conf.d are taken over at once.', {
    flag: 'auto-reload-registries',
    env: 'AUTO_RELOAD_REGISTRIES',
    honoured: true,
  }),
  pull_progress_timeout: duration(0, 'A pull that makes no progress for this long is cancelled. 0s: never.', {
    flag: 'pull-progress-timeout',
    env: 'CONTAINER_PULL_PROGRESS_TIMEOUT',
    honoured: true,
  }),
  oci_artifact_mount_support: bool(true, 'OCI artifacts may be mounted as volumes.', {
    flag: 'oci-artifact-mount-support',
    env: 'CONTAINER_OCI_ARTIFACT_SUPPORT',
    honoured: true,
  }),
  short_name_mode: text('enforcing', 'Names without a registry: enforcing refuses ambiguous ones, disabled tries all registries.', {
    flag: 'short-name-mode',
    env: 'CONTAINER_SHORT_NAME_MODE',
    honoured: true,
  }),
} satisfies Rows);

export type ImageConfig = ValuesOf<(typeof imageTable)['rows']>;

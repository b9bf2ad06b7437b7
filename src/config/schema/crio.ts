import { type Rows, type ValuesOf, bool, list, table, text } from './row.ts';

const keepUnlessGiven = (earlier: string, later: string) => (later === '' ? earlier : later);

/** Exact duplicates keep their last place [B4, J3]. */
function accumulate(earlier: readonly string[], later: readonly string[]): readonly string[] {
  const all = [...earlier, ...later];
  return all.filter((item, index) => all.lastIndexOf(item) === index);
}

/** `[crio]`: where images, containers and the daemon's own files lie [B14–B24]. */
export const crioTable = table(
  'crio',
  'Places of images, containers and of the few files that the daemon keeps for itself. Values that are missing here come from storage.conf.',
  {
    root: text('/var/lib/containers/storage', 'Directory that holds images and containers, shared with podman, buildah and skopeo.', {
      flag: 'root',
      alias: 'r',
      env: 'CONTAINER_ROOT',
      merge: keepUnlessGiven,
      honoured: true,
    }),
    runroot: text('/run/containers/storage', 'Directory for the state of the storage that a reboot may lose.', {
      flag: 'runroot',
      env: 'CONTAINER_RUNROOT',
      merge: keepUnlessGiven,
      honoured: true,
    }),
    imagestore: text('', 'A place of their own for pulled images; containers stay below root. Must differ from root.', {
      flag: 'imagestore',
      env: 'CONTAINER_IMAGESTORE',
      honoured: true,
    }),
    storage_driver: text('', 'How layers are stored. Only overlay is supported; empty means overlay.', {
      flag: 'storage-driver',
      alias: 's',
      env: 'CONTAINER_STORAGE_DRIVER',
      merge: keepUnlessGiven,
      honoured: true,
    }),
    storage_option: list([], 'Options of the storage driver, such as overlay.mountopt=nodev. Lists of all files add up.', {
      flag: 'storage-opt',
      env: 'CONTAINER_STORAGE_OPT',
      merge: accumulate,
      honoured: true,
    }),
    log_dir: text('/var/log/crio/pods', 'Directory of container logs for pods whose request names none. Must be an absolute path.', {
      flag: 'log-dir',
      env: 'CONTAINER_LOG_DIR',
      honoured: true,
    }),
    version_file: text('/var/run/crio/version', 'Version of the last start, on a file system that a reboot empties. Empty: not written.', {
      flag: 'version-file',
      env: 'CONTAINER_VERSION_FILE',
      honoured: true,
    }),
    version_file_persist: text('', 'Version of the last start, kept over reboots. Empty: not written, an upgrade never removes images.', {
      flag: 'version-file-persist',
      env: 'CONTAINER_VERSION_FILE_PERSIST',
      honoured: true,
    }),
    clean_shutdown_file: text('/var/lib/crio/clean.shutdown', 'Written when the daemon ends in order. Empty: not written.', {
      flag: 'clean-shutdown-file',
      env: 'CONTAINER_CLEAN_SHUTDOWN_FILE',
      honoured: true,
    }),
    internal_wipe: bool(true, 'After a reboot or an upgrade the daemon itself removes what is left of earlier pods.', {
      flag: 'internal-wipe',
      env: 'CONTAINER_INTERNAL_WIPE',
      honoured: true,
      deprecated: 'The daemon will always do it.',
    }),
    internal_repair: bool(true, 'After an unclean end the storage is checked at start and repaired.', {
      flag: 'internal-repair',
      env: 'CONTAINER_INTERNAL_REPAIR',
      honoured: true,
    }),
  } satisfies Rows,
);

export type CrioConfig = ValuesOf<(typeof crioTable)['rows']>;

import { type Rows, type ValuesOf, bool, int, list, table, text } from './row.ts';

/** Flags that no file knows [A173], beside `--runtimes`, which adds handlers. */
export const commandLineTable = table('', 'What only the command line and the environment say.', {
  address: text('', 'Accepted for containerd shims and ignored.', { flag: 'address', hidden: true, honoured: true }),
  config: text('/etc/crio/crio.conf', 'Main configuration file. Empty: none.', {
    flag: 'config',
    alias: 'c',
    env: 'CONTAINER_CONFIG',
    honoured: true,
  }),
  config_dir: text('/etc/crio/crio.conf.d', 'Directory of configuration files that are read after the main one. Empty: none.', {
    flag: 'config-dir',
    alias: 'd',
    env: 'CONTAINER_CONFIG_DIR',
    honoured: true,
  }),
  enable_profile_unix_socket: bool(false, 'Profiles are served on the socket of the daemon.', {
    flag: 'enable-profile-unix-socket',
    env: 'ENABLE_PROFILE_UNIX_SOCKET',
  }),
  log: text('', 'File for the log. Empty: standard error.', { flag: 'log', env: 'CONTAINER_LOG', honoured: true }),
  log_format: text('text', 'Form of the log lines: text or json.', { flag: 'log-format', env: 'CONTAINER_LOG_FORMAT', honoured: true }),
  profile: bool(false, 'Profiles are served on 127.0.0.1.', { flag: 'profile', env: 'CONTAINER_PROFILE' }),
  profile_cpu: text('', 'File for a CPU profile of the whole run.', { flag: 'profile-cpu', env: 'CONTAINER_PROFILE_CPU' }),
  profile_mem: text('', 'File for a heap profile, written at the end.', { flag: 'profile-mem', env: 'CONTAINER_PROFILE_MEM' }),
  profile_port: int(6060, 'Port of --profile.', { flag: 'profile-port', env: 'CONTAINER_PROFILE_PORT' }),
  registries_conf: text('', "Path of registries.conf. Empty: the system's.", {
    flag: 'registries-conf',
    env: 'CONTAINER_REGISTRIES_CONF',
    hidden: true,
    honoured: true,
  }),
  registries_conf_dir: text('', "Path of registries.conf.d. Empty: the system's.", {
    flag: 'registries-conf-dir',
    env: 'CONTAINER_REGISTRIES_CONF_DIR',
    hidden: true,
    honoured: true,
  }),
  runtimes: list([], 'Handlers, as NAME:PATH:ROOT[:TYPE[:PRIVILEGED_WITHOUT_HOST_DEVICES[:CONFIG_PATH[:CONTAINER_MIN_MEMORY]]]].', {
    flag: 'runtimes',
    env: 'CONTAINER_RUNTIMES',
    honoured: true,
  }),
} satisfies Rows);

export type CommandLine = ValuesOf<(typeof commandLineTable)['rows']>;

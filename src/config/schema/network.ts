import { type Rows, type ValuesOf, duration, list, table, text } from './row.ts';

/** `[crio.network]` [B143–B147]. */
export const networkTable = table('crio.network', 'CNI: where its configurations and plugins are.', {
  cni_default_network: text('', 'Name of the network for pods. Empty: that of the first configuration file.', {
    flag: 'cni-default-network',
    env: 'CONTAINER_CNI_DEFAULT_NETWORK',
    honoured: true,
  }),
  network_dir: text('/etc/cni/net.d/', 'Directory of CNI configurations.', {
    flag: 'cni-config-dir',
    env: 'CONTAINER_CNI_CONFIG_DIR',
    honoured: true,
  }),
  plugin_dir: text('', 'One more directory of CNI plugins.', { deprecated: 'Use plugin_dirs.', omitEmpty: true, honoured: true }),
  plugin_dirs: list(['/opt/cni/bin/'], 'Directories of CNI plugins, asked in this order.', {
    flag: 'cni-plugin-dir',
    env: 'CONTAINER_CNI_PLUGIN_DIR',
    honoured: true,
  }),
  cni_status_grace_period: duration(
    0,
    'After this time a failing STATUS of the plugins makes the network not ready. 0s: it is not asked.',
    {
      honoured: true,
      flag: 'cni-status-grace-period',
      env: 'CNI_STATUS_GRACE_PERIOD',
    },
  ),
} satisfies Rows);

export type NetworkConfig = ValuesOf<(typeof networkTable)['rows']>;

import { type Rows, type ValuesOf, bool, duration, list, table, text } from './row.ts';

/** `[crio.nri]` [B160–B166]. */
export const nriTable = table('crio.nri', 'Plugins of the node resource interface.', {
  enable_nri: bool(true, 'Plugins may take part in the life of containers.', { flag: 'enable-nri' }),
  nri_listen: text('/var/run/nri/nri.sock', 'Socket on which plugins connect.', { flag: 'nri-listen' }),
  nri_plugin_dir: text('/opt/nri/plugins', 'Directory of plugins that the daemon starts.', { flag: 'nri-plugin-dir' }),
  nri_plugin_config_dir: text('/etc/nri/conf.d', "Directory of the plugins' configurations.", { flag: 'nri-plugin-config-dir' }),
  nri_disable_connections: bool(false, 'Plugins from outside may not connect.', { flag: 'nri-disable-connections' }),
  nri_plugin_registration_timeout: duration(5000, 'Time for a plugin to register.', { flag: 'nri-plugin-registration-timeout' }),
  nri_plugin_request_timeout: duration(2000, 'Time for a plugin to answer.', { flag: 'nri-plugin-request-timeout' }),
} satisfies Rows);

const reject = (what: string, flag: string) => bool(false, `Plugins may not change ${what}.`, { flag });

/** `[crio.nri.default_validator]` [B167–B170]. */
export const nriValidatorTable = table('crio.nri.default_validator', 'The built-in check of what plugins change.', {
  nri_enable_default_validator: bool(false, 'The check is done.', { flag: 'nri-enable-default-validator' }),
  nri_validator_reject_oci_hook_adjustment: reject('OCI hooks', 'nri-validator-reject-oci-hook-adjustment'),
  nri_validator_reject_runtime_default_seccomp_adjustment: reject(
    "the runtime's default seccomp profile",
    'nri-validator-reject-runtime-default-seccomp-adjustment',
  ),
  nri_validator_reject_unconfined_seccomp_adjustment: reject(
    'the seccomp profile of unconfined containers',
    'nri-validator-reject-unconfined-seccomp-adjustment',
  ),
  nri_validator_reject_custom_seccomp_adjustment: reject('custom seccomp profiles', 'nri-validator-reject-custom-seccomp-adjustment'),
  nri_validator_reject_namespace_adjustment: reject('namespaces', 'nri-validator-reject-namespace-adjustment'),
  nri_validator_required_plugins: list([], 'Plugins that must have seen every creation of a container.', {
    flag: 'nri-validator-required-plugins',
  }),
  nri_validator_tolerate_missing_plugins_annotation: text('', 'Pod annotation that waives the required plugins.', {
    flag: 'nri-validator-tolerate-missing-plugins-annotation',
  }),
} satisfies Rows);

export type NriConfig = ValuesOf<(typeof nriTable)['rows']> & { readonly defaultValidator: ValuesOf<(typeof nriValidatorTable)['rows']> };

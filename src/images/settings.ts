import { join } from 'node:path';

/**
 * What the image service is told at its construction; crio.conf's `[crio.image]` plus the paths that
 * containers/image searches, so that a test can point all of them elsewhere.
 */
export interface ImageSettings {
  /** `pause_image`: always pinned [I81]. */
  readonly pauseImage: string;
  /** `pinned_images` patterns [I81]. */
  readonly pinnedImages: readonly string[];
  /** `default_transport`: put before names at a pull; only `docker://` leads anywhere [I88]. */
  readonly defaultTransport: string;
  /** `global_auth_file`; '' searches `authFiles` in order [I24]. */
  readonly globalAuthFile: string;
  /** `pause_image_auth_file`: for the pause image instead of the others; '' for none [I83]. */
  readonly pauseImageAuthFile: string;
  /** `namespaced_auth_dir`; '' switches it off [I26]. */
  readonly namespacedAuthDir: string;
  /** `signature_policy`; '' takes the first existing file of `policyFiles` [I28]. */
  readonly signaturePolicy: string;
  /** `signature_policy_dir`; '' switches it off [I29]. */
  readonly signaturePolicyDir: string;
  /** `decryption_keys_path`; '' for none [I39]. */
  readonly decryptionKeysPath: string;
  /** `short_name_mode`; '' behaves like enforcing [I11]. */
  readonly shortNameMode: 'enforcing' | 'disabled' | '';
  /** `oci_artifact_mount_support` [I59]. */
  readonly artifactMounts: boolean;
  /** `pull_progress_timeout` in milliseconds; 0 switches stall detection off [I34]. */
  readonly pullProgressTimeoutMs: number;
  /** First existing file wins [I14]. */
  readonly registriesConfFiles: readonly string[];
  /** Whether one must exist: somebody named it. */
  readonly registriesConfRequired: boolean;
  /** All are read, in order, each in lexical order of its `*.conf` [I14]. */
  readonly registriesConfDirs: readonly string[];
  /** File of cached short-name aliases, read after `[aliases]` of the configuration [I10]. */
  readonly shortNameAliasesFile: string;
  /** `certs.d` directories; the first that has the host's directory wins [I19]. */
  readonly certsDirs: readonly string[];
  /** Credential files in search order [I24]. */
  readonly authFiles: readonly AuthFileSource[];
  readonly policyFiles: readonly string[];
  /** `registries.d`: where signatures lie; the first that exists counts [I32]. */
  readonly registriesDirs: readonly string[];
  /** Lookaside of images for which registries.d says none: a URL, '' for none. */
  readonly defaultLookaside: string;
  /** `cri-o/<x.y.z> go/<version> os/<os> arch/<arch>` [I20]. */
  readonly userAgent: string;
  /** Blobs fetched at the same time, over all pulls [I41]. */
  readonly maxDownloads: number;
  /** `enable_partial_images` of storage.conf: layers that allow it are fetched in parts [J39]. */
  readonly partialImages: boolean;
  /** `use_hard_links` of storage.conf: files of partial pulls may be those of other layers [J39]. */
  readonly hardLinks: boolean;
  /** The daemon's environment: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, and what credential helpers look for. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Bundles of the machine's root certificates; the first that exists counts. */
  readonly rootCertificateFiles: readonly string[];
  /** Waits of the network code in milliseconds. */
  readonly timeouts: NetworkTimeouts;
}

export interface AuthFileSource {
  readonly path: string;
  /** `dockercfg` is the old ~/.dockercfg: the `auths` table without its wrapper. */
  readonly format: 'auths' | 'dockercfg';
}

export interface NetworkTimeouts {
  /** TCP and TLS together. */
  readonly connectMs: number;
  /** From the sent request to the answer's header. */
  readonly headerMs: number;
  /** Without a byte of a body that somebody waits for: the connection is given up and the rest asked for again. */
  readonly idleMs: number;
  /** First wait before a repeated request; doubles [I21]. */
  readonly backoffMs: number;
  /** Longest wait, also of a Retry-After [I21]. */
  readonly maxBackoffMs: number;
}

const DEFAULT_TIMEOUTS: NetworkTimeouts = {
  connectMs: 30_000,
  headerMs: 120_000,
  idleMs: 60_000,
  backoffMs: 2_000,
  maxBackoffMs: 60_000,
};

/** Where distributions keep the roots that they trust: Debian, Fedora, openSUSE, Alpine. */
const ROOT_CERTIFICATES: readonly string[] = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

export interface HostEnvironment {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  /** Of the Version RPC: `1.37.0`. */
  readonly version: string;
}

/** The settings that the reference has without any configuration file, for this user and environment [I14, I19, I24, I28]. */
export function defaultImageSettings(host: HostEnvironment): ImageSettings {
  const home = host.env['HOME'] ?? '/root';
  const configHome = host.env['XDG_CONFIG_HOME'] || join(home, '.config');
  const runtimeDir = host.env['XDG_RUNTIME_DIR'];
  const inConfig = (...parts: string[]) => join(home, '.config/containers', ...parts);
  return {
    pauseImage: 'registry.k8s.io/pause:3.10.1',
    pinnedImages: [],
    defaultTransport: 'docker://',
    globalAuthFile: '',
    pauseImageAuthFile: '',
    namespacedAuthDir: '/etc/crio/auth',
    signaturePolicy: '',
    signaturePolicyDir: '/etc/crio/policies',
    decryptionKeysPath: '/etc/crio/keys/',
    shortNameMode: 'enforcing',
    artifactMounts: true,
    pullProgressTimeoutMs: 0,
    registriesConfRequired: false,
    registriesConfFiles: [inConfig('registries.conf'), '/etc/containers/registries.conf'],
    registriesConfDirs: ['/etc/containers/registries.conf.d', inConfig('registries.conf.d')],
    shortNameAliasesFile:
      host.uid === 0 ? '/var/cache/containers/short-name-aliases.conf' : join(home, '.cache/containers/short-name-aliases.conf'),
    certsDirs: [inConfig('certs.d'), '/etc/containers/certs.d', '/etc/docker/certs.d'],
    authFiles: [
      { path: runtimeDir ? join(runtimeDir, 'containers/auth.json') : `/run/containers/${host.uid}/auth.json`, format: 'auths' },
      { path: join(configHome, 'containers/auth.json'), format: 'auths' },
      { path: join(host.env['DOCKER_CONFIG'] || join(home, '.docker'), 'config.json'), format: 'auths' },
      { path: join(home, '.dockercfg'), format: 'dockercfg' },
    ],
    policyFiles: [inConfig('policy.json'), '/etc/containers/policy.json'],
    registriesDirs: [inConfig('registries.d'), '/etc/containers/registries.d'],
    defaultLookaside: `file://${host.uid === 0 ? '/var/lib/containers/sigstore' : join(home, '.local/share/containers/sigstore')}`,
    userAgent: `cri-o/${host.version} node/${process.version} os/${process.platform} arch/${goArchitecture(process.arch)}`,
    maxDownloads: 6,
    partialImages: false,
    hardLinks: false,
    env: host.env,
    rootCertificateFiles: host.env['SSL_CERT_FILE'] ? [host.env['SSL_CERT_FILE']] : ROOT_CERTIFICATES,
    timeouts: DEFAULT_TIMEOUTS,
  };
}

/** Go's (and OCI's) name of a Node architecture. */
export function goArchitecture(nodeArch: string): string {
  return nodeArch === 'x64' ? 'amd64' : nodeArch;
}

import type { Digest, HexId } from '../ids/index.ts';

/** The parts of an OCI image config (docker's is a superset) that a container is made from. Foreign keys are dropped. */
export interface OciImageConfig {
  readonly architecture: string;
  readonly os: string;
  readonly variant: string | undefined;
  /** RFC 3339 as the image says it; undefined when absent or not a date. */
  readonly created: string | undefined;
  readonly author: string | undefined;
  readonly user: string;
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly workingDir: string;
  readonly stopSignal: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly volumes: readonly string[];
  readonly exposedPorts: readonly string[];
  readonly diffIds: readonly Digest[];
  readonly history: readonly ImageHistory[];
}

export interface ImageHistory {
  readonly created: string | undefined;
  readonly createdBy: string | undefined;
  readonly emptyLayer: boolean;
}

/** The user an image asks for, as CRI tells it: one of both, or neither [I68]. */
export interface ImageUser {
  readonly uid?: number;
  readonly username?: string;
}

/** An image of the store, as CRI shows it [I66..I72]. */
export interface Image {
  readonly id: HexId;
  /** Names as stored: `host/repo:tag`, `host/repo@sha256:…`. */
  readonly names: readonly string[];
  /** Every name it ever had, newest first. */
  readonly previousNames: readonly string[];
  readonly repoTags: readonly string[];
  /** What ImageStatus answers; empty for an image without a name [I72]. */
  readonly repoDigests: readonly string[];
  /** What ListImages answers: made up from the previous name where there is none left [I66, I72]. */
  readonly listRepoDigests: readonly string[];
  /** Uncompressed layers plus config and other big data, bytes; 0 when unknown [I67]. */
  readonly size: bigint;
  readonly user: ImageUser;
  readonly pinned: boolean;
  /** RFC 3339. */
  readonly created: string;
  readonly config: OciImageConfig;
  /** The config blob as the image brought it; what verbose ImageStatus shows [I73]. */
  readonly rawConfig: string;
  /** Of the OCI manifest; empty for docker's formats [I70]. */
  readonly annotations: ReadonlyMap<string, string>;
  /** The first name, or undefined [D160]. */
  readonly someName: string | undefined;
  /** The digest of the manifest that this platform's image was pulled by. */
  readonly manifestDigest: Digest | undefined;
  readonly topLayer: HexId | undefined;
  readonly os: string;
  readonly architecture: string;
}

/** Credentials of a pull request, as CRI's AuthConfig carries them [I3]. Absent fields are empty strings. */
export interface RegistryAuth {
  readonly username: string;
  readonly password: string;
  /** base64 of `user:password`; replaces both. */
  readonly auth: string;
  readonly serverAddress: string;
  readonly identityToken: string;
  readonly registryToken: string;
}

/** One step of one layer of a running pull. */
export interface PullProgress {
  /** The layer's blob; the manifest's digest for steps that concern the whole image. */
  readonly digest: Digest | undefined;
  readonly mediaType: string;
  readonly step: 'resolved' | 'downloading' | 'downloaded' | 'committed' | 'reused' | 'recorded';
  /** Bytes of the blob that have come so far, and in all. */
  readonly offset: number;
  readonly size: number;
  /** The image reference that is being pulled. */
  readonly reference: string;
  /** The registry, or its mirror, that it comes from: `host` or `host:port`. */
  readonly from: string;
}

export interface PullOptions {
  readonly auth?: RegistryAuth;
  /** The pod's namespace: chooses the one-time auth file [I26] and the signature policy [I29]. */
  readonly namespace?: string;
  /** Only keeps pulls of different cgroups apart [I4]. */
  readonly cgroupParent?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: PullProgress) => void;
}

export interface PullResult {
  /** What CRI's PullImage answers: the image's id, bare hex [I1]. */
  readonly imageRef: string;
  readonly imageId: HexId;
}

export interface ImageFsUsage {
  readonly timestampNs: bigint;
  readonly mountpoint: string;
  readonly usedBytes: bigint;
  readonly inodesUsed: bigint;
}

/** What the pull metrics count [I36, C17..C22]. */
export interface PullMetrics {
  /** Bytes of a blob that came, and the size of the whole blob. */
  bytes(mediaType: string, blobSize: number, came: number): void;
  layerDone(blobSize: number): void;
  /** `<image reference>@<blob digest>` */
  layerReused(name: string): void;
  success(): void;
  failure(label: string): void;
}

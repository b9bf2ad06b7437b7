import type { Digest } from '../../ids/index.ts';
import type { IdMapping } from '../types.ts';

/** What unpacking found out about a layer. */
export interface UnpackedLayer {
  /** Equal to the one asked for; undefined if only parts of the blob were read, so that nobody knows. */
  readonly blobDigest: Digest | undefined;
  /** Of an encrypted blob: digest of what it holds, before decompression. */
  readonly decryptedDigest?: Digest;
  /** Bytes of the blob as received: all, unless only parts were asked for. */
  readonly blobSize: number;
  /** Digest of the uncompressed tar stream, up to its last byte. */
  readonly diffId: Digest;
  /** Bytes of the uncompressed tar stream. */
  readonly diffSize: number;
  /** As containers/storage numbers them, 0 too for one that came in parts: 0 none, 1 bzip2, 2 gzip, 3 xz, 4 zstd. */
  readonly compression: 0 | 1 | 2 | 3 | 4;
  /** The ids that occur in headers, unmapped, ascending, whiteouts left out. */
  readonly uids: number[];
  readonly gids: number[];
}

/** Maps ids of the image to ids of the host; an empty list maps every id to itself. */
export interface IdMap {
  readonly uids: readonly IdMapping[];
  readonly gids: readonly IdMapping[];
}

/** What a layer may cost; beyond it the layer fails with ResourceExhausted. */
export interface UnpackLimits {
  /** Members of the archive. Default 2,000,000. */
  readonly maxEntries?: number;
  /** Bytes of the uncompressed tar stream. Default: no bound of its own. */
  readonly maxDiffBytes?: number;
  /** Bytes of all files' contents, the holes of sparse ones included. Default: no bound of its own. */
  readonly maxContentBytes?: number;
}

/** How an encrypted blob is read: AES-256 in counter mode, and HMAC-SHA256 with the same key over the ciphertext [I39]. */
export interface LayerDecryption {
  /** 32 bytes. Secret. */
  readonly key: Uint8Array;
  /** 16 bytes: the counter's beginning. */
  readonly nonce: Uint8Array;
  /** 32 bytes: what the HMAC has to be. */
  readonly mac: Uint8Array;
}

/** Bytes `start`…`end` (exclusive) of a blob. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** A layer of the store, for its files. */
export interface LayerContents {
  /** In an additional image store: its files are only read, and get no more names. */
  readonly isForeign: boolean;
  readonly diffDir: string;
  readonly tarSplitPath: string;
}

/** What is known of a zstd:chunked blob, of which only parts shall be fetched. */
export interface BlobParts {
  /** Table of contents and tar-split as they are in the blob, compressed, and the bytes that they unpack to. */
  readonly toc: Uint8Array;
  readonly tocSize: number;
  readonly tocDigest: Digest;
  readonly tarSplit: Uint8Array;
  readonly tarSplitSize: number;
  readonly blobSize: number;
  /** Where files may be that it has too, the likeliest first. */
  readonly layers: readonly LayerContents[];
  /** Files of other layers get one more name where a clone is impossible; else they are copied. */
  readonly hardLinks: boolean;
}

/** What of a layer is here, and what has to be fetched of its blob. */
export interface Survey {
  readonly ranges: readonly ByteRange[];
  /** Files with contents, and how many of them other layers have. */
  readonly files: number;
  readonly found: number;
}

export interface UnpackOptions {
  /** An existing directory, filled by the layer. After a failure its owner throws it away. */
  readonly diffDir: string;
  /** Where the gzipped tar-split is written, mode 0600; must not exist. */
  readonly tarSplitPath: string;
  /** The manifest's digest of the blob. */
  readonly blobDigest: Digest;
  /** The image config's diff ID; undefined: not known, only computed. */
  readonly diffId: Digest | undefined;
  /** For an encrypted blob. */
  readonly decryption?: LayerDecryption;
  /** The blob that is given is not the whole one, but the ranges that `onSurvey` names; the diff ID must be known then. */
  readonly parts?: BlobParts;
  readonly onSurvey?: (survey: Survey) => void;
  readonly limits?: UnpackLimits;
  readonly idMap?: IdMap;
  readonly signal?: AbortSignal;
  /** Called with the bytes of the blob that have been worked on so far. */
  readonly onProgress?: (bytesOfBlob: number) => void;
}

/** Failure codes of this folder, beside errno names. */
export type ArchiveCode =
  | 'BLOB_DIGEST_MISMATCH'
  | 'MAC_MISMATCH'
  | 'DIFF_ID_MISMATCH'
  | 'BAD_ARCHIVE'
  | 'UNSUPPORTED_COMPRESSION'
  | 'LIMIT'
  | 'UNSUITABLE';

/** The part of the options that a worker thread gets. */
export interface UnpackJob {
  readonly diffDir: string;
  readonly tarSplitPath: string;
  readonly blobDigest: Digest;
  readonly diffId: Digest | undefined;
  readonly decryption: LayerDecryption | undefined;
  readonly parts: BlobParts | undefined;
  readonly limits: UnpackLimits;
  readonly idMap: IdMap;
}

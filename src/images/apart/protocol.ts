import type { PlainFailure } from '../../errors/index.ts';
import type { HexId } from '../../ids/index.ts';
import type { Fields, Level } from '../../log/index.ts';
import type { StoreOptions } from '../../storage/index.ts';
import type { PullOptions, PullProgress } from '../image.ts';
import type { ImageSettings } from '../settings.ts';

/** What the store is opened with, as JSON. */
export type StorePlace = Omit<StoreOptions, 'log' | 'isDaemon' | 'limits'>;

/** What is pulled, and for whom. */
export type PullRequest = Pick<PullOptions, 'auth' | 'namespace'> & { readonly reference: string };

/** The child's first line of input. Its input's end means that nobody waits for it any more. */
export interface ChildOrder {
  readonly request: PullRequest;
  readonly store: StorePlace;
  readonly settings: ImageSettings;
  readonly maxThreads: number;
  readonly level: Level;
}

/** The child's lines of output; `done` or `failed` is the last. */
export type FromChild =
  | { readonly kind: 'log'; readonly level: LogMethod; readonly text: string; readonly fields: Fields }
  | { readonly kind: 'progress'; readonly progress: PullProgress }
  | { readonly kind: 'done'; readonly imageId: HexId }
  | { readonly kind: 'failed'; readonly failure: PlainFailure };

export type LogMethod = 'trace' | 'debug' | 'info' | 'warn' | 'error';

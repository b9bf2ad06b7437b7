import type { OverlayDriver } from './driver/overlay.ts';
import type { Staging } from './staging.ts';

/** The directories that a store's records lie below. */
export interface Roots {
  /** `G`. */
  readonly graphRoot: string;
  /** `R`. */
  readonly runRoot: string;
  /** Where images and their layers are made: `imagestore`, else the graph root [J7]. */
  readonly imageRoot: string;
  /** Additional image stores, in the order of search; only read [J37]. */
  readonly additional: readonly string[];
}

/** Where the things of a store lie, and who moves them. */
export interface Places extends Roots {
  readonly driver: OverlayDriver;
  /** On the graph root's file system. */
  readonly staging: Staging;
  /** On the image root's; the same one where that is the graph root. */
  readonly imageStaging: Staging;
}

/** The staging directories on the file system of one of the two roots that are written. */
export function stagingOf({ graphRoot, staging, imageStaging }: Places, root: string): Staging {
  return root === graphRoot ? staging : imageStaging;
}

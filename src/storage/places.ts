import type { OverlayDriver } from './driver/overlay.ts';
import type { Staging } from './staging.ts';

/** Where the things of a store lie, and who moves them. */
export interface Places {
  /** `G`. */
  readonly graphRoot: string;
  /** `R`. */
  readonly runRoot: string;
  readonly driver: OverlayDriver;
  readonly staging: Staging;
}

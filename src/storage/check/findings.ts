import type { HexId } from '../../ids/index.ts';

export type Kind = 'layer' | 'image' | 'container';

/** One thing that is wrong in a store. */
export interface Finding {
  readonly kind: Kind;
  readonly id: HexId;
  /** containers/storage's words [J55]. */
  readonly problem: string;
  /** Whether the layer is sound and only nobody's: it can go without anybody missing it. */
  readonly isOrphan: boolean;
  /** Whether what it stands upon may only be away for now: in an additional image store that is not mounted. */
  readonly mayComeBack: boolean;
}

/** How a check looks [A206, A207, J53, J55]. */
export interface CheckOptions {
  /** Digests of all contents are computed; else only what can be told without reading them. */
  readonly digests: boolean;
  /** Every entry of every layer is compared with its archive. */
  readonly contents: boolean;
  /** Layers that nobody uses are an error when they are older than so many seconds; undefined: never. */
  readonly maxOrphanAgeS: number | undefined;
  /** Only these layers; default all. */
  readonly only?: ReadonlySet<HexId>;
}

/** `layer <id>: <problem>` */
export function describe({ kind, id, problem }: Finding): string {
  return `${kind} ${id}: ${problem}`;
}

export function countOf(findings: readonly Finding[], kind: Kind): number {
  return new Set(findings.filter((finding) => finding.kind === kind).map(({ id }) => id)).size;
}

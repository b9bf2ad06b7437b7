/** A step's bar. Times are milliseconds since the begin of its operation. */
export interface Span {
  readonly name: string;
  /** Names from the operation down to this step, and `#2` where an operation comes to the same place again. */
  readonly path: string;
  readonly depth: number;
  readonly startMs: number;
  endMs: number | undefined;
  failed: boolean;
}

/** What an operation works on. */
export interface Subject {
  readonly pod: string;
  readonly container?: string;
  /** The store's name of it, `k8s_…` [D4, D6]: what is only being made is in no list yet. */
  readonly name: string;
}

export type Point = 'begin' | 'end' | 'helper';

/** Told of every point that an operation passes, in that very moment; what it throws fails the step. */
export type Witness = (point: Point, path: string, pid?: number) => void;

/** The step that waits for whoever works on the same pod or container. */
export const TURN = 'turn';

/** A longer operation than this has lost its way: its timeline keeps the first steps. */
const MOST_SPANS = 200;

/** One RPC's work on a pod or container, with the steps that it took. */
export class Operation {
  readonly name: string;
  readonly subject: Subject;
  /** Milliseconds since the epoch. */
  readonly startedAt = Date.now();
  readonly spans: Span[] = [];
  endMs: number | undefined;
  error: string | undefined;
  readonly #began = performance.now();
  readonly #witness: Witness | undefined;
  readonly #seen = new Map<string, number>();

  constructor(name: string, subject: Subject, witness: Witness | undefined) {
    this.name = name;
    this.subject = subject;
    this.#witness = witness;
  }

  /** Milliseconds since its begin. */
  get elapsedMs(): number {
    return performance.now() - this.#began;
  }

  begin(name: string, parent: Span | undefined): Span {
    const place = `${parent?.path ?? this.name}/${name}`;
    const times = (this.#seen.get(place) ?? 0) + 1;
    this.#seen.set(place, times);
    const path = times === 1 ? place : `${place}#${times}`;
    const span: Span = {
      name,
      path,
      depth: parent === undefined ? 0 : parent.depth + 1,
      startMs: this.elapsedMs,
      endMs: undefined,
      failed: false,
    };
    if (this.spans.length < MOST_SPANS) this.spans.push(span);
    this.#witness?.('begin', path);
    return span;
  }

  end(span: Span): void {
    span.endMs = this.elapsedMs;
    this.#witness?.('end', span.path);
  }

  fail(span: Span): void {
    span.endMs ??= this.elapsedMs;
    span.failed = true;
  }

  helperStarted(span: Span, pid: number): void {
    this.#witness?.('helper', span.path, pid);
  }

  finish(error?: string): void {
    this.endMs = this.elapsedMs;
    this.error = error;
  }

  /** Whether it only waited for its turn, and then found nothing to do. */
  get idle(): boolean {
    return this.spans.every(({ name }) => name === TURN);
  }

  /** The innermost step under way that began last, and how long ago. */
  get current(): { readonly step: string; readonly forMs: number } | undefined {
    const open = this.spans.findLast((span) => span.endMs === undefined);
    return open === undefined ? undefined : { step: open.name, forMs: this.elapsedMs - open.startMs };
  }
}

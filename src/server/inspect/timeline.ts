import type { Operation, Tracer } from '../../steps/index.ts';

/** `GET /v1/operations`: what is under way on pods and containers, the longest first, each with the step it is at (p44). */
export function describeRunning(tracer: Tracer): unknown {
  return tracer.running().map((operation) => {
    const { current } = operation;
    return {
      ...head(operation),
      runningMs: rounded(operation.elapsedMs),
      ...(current === undefined ? {} : { step: current.step, inStepMs: rounded(current.forMs) }),
    };
  });
}

/** `GET /v1/timeline/POD`: the latest operations on a pod and its containers, also for a while after its removal. */
export function describeTimeline(tracer: Tracer, podId: string): unknown {
  const operations = tracer.of(podId).map((operation) => ({
    ...head(operation),
    ...(operation.endMs === undefined ? { runningMs: rounded(operation.elapsedMs) } : { tookMs: rounded(operation.endMs) }),
    ...(operation.error === undefined ? {} : { error: operation.error }),
    steps: operation.spans.map(({ name, depth, startMs, endMs, failed }) => ({
      name,
      depth,
      startMs: rounded(startMs),
      ...(endMs === undefined ? {} : { tookMs: rounded(endMs - startMs) }),
      ...(failed ? { failed } : {}),
    })),
  }));
  return operations.length === 0 ? undefined : { pod: podId, operations };
}

function head({ name, subject, startedAt }: Operation) {
  return { operation: name, ...subject, startedAt: new Date(startedAt).toISOString() };
}

/** Microseconds are as fine as this clock is worth. */
function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

export { faultsFrom } from './faults.ts';
export { type Operation, type Span, type Subject, TURN, type Witness } from './operation.ts';
export { helperStarted, step } from './step.ts';
export { Tracer } from './tracer.ts';

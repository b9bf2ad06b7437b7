export { type PlainFailure, plainFailure, revivedFailure } from './plain.ts';
export { Failure, type FailureKind, type FailureDetails, adviceOf, codeOf, kindOf, textOf, wrap } from './failure.ts';

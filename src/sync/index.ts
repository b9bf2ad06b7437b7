export { allEnded } from './all-ended.ts';
export { Flights, orAborted } from './flights.ts';
export { eachOf } from './each.ts';
export { type Outstanding, Retries } from './retries.ts';
export { KeyedMutex, Mutex } from './locks.ts';
export { Settled } from './settled.ts';
export { SharedMutex } from './shared.ts';
export { UndoStack } from './undo.ts';
export { within } from './within.ts';

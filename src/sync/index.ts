export { Flights, orAborted } from './flights.ts';
export { KeyedMutex, Mutex } from './locks.ts';
export { UndoStack } from './undo.ts';

import type { UndoStack } from '../../sync/index.ts';
import type { JournalEntry } from '../journal.ts';

/** Of one creation. What has been made is on undo and journal: one for a failure, one for a crash. */
export interface Work {
  /** The pod's. */
  readonly namespace: string;
  readonly undo: UndoStack;
  readonly journal: JournalEntry;
}

import type { UndoStack } from '../../sync/index.ts';
import type { JournalEntry } from '../journal.ts';

/** What has been made is on both: one for a failure, one for a crash. */
export interface Work {
  readonly undo: UndoStack;
  readonly journal: JournalEntry;
}

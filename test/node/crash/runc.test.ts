import { crashSuite } from './suite.ts';

crashSuite('runc', { ownStepsOnly: true });

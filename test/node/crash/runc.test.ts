import { crashSuite, plainLife } from './suite.ts';

// What a pause container and a user namespace add is no other runtime's.
crashSuite('runc', { lives: [plainLife('runc')], ownStepsOnly: true });

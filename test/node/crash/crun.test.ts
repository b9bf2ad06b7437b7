import { crashSuite } from './suite.ts';

crashSuite('crun');

export { pack } from './pack.ts';
export { Unpacker, nothingCame } from './unpack.ts';

export * from './generated.ts';
export {
  type Answer,
  type Codec,
  type EnumNumber,
  type MessageInput,
  type Method,
  type StreamMethod,
  encodeAnswer,
  encodeRepeatedEntry,
} from './codec.ts';
export { type Json, toJson } from './json.ts';

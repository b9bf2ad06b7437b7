/**
 * Reads plain data (of YAML or JSON) into types, and names the place of the first thing that does not fit:
 * `spec.containers[0].ports[1].protocol`. Null counts as absent everywhere, as it does for Kubernetes.
 */
import { Failure } from '../../errors/index.ts';

/** Makes a value of what stands at `path`; Failure (InvalidArgument) naming the path if it cannot. */
export type Decoder<T> = (value: unknown, path: string) => T;
export type Decoded<D> = D extends Decoder<infer T> ? T : never;

export function wrong(path: string, what: string, advice?: string): Failure {
  return new Failure('InvalidArgument', `${path === '' ? 'the manifest' : path}: ${what}`, advice === undefined ? {} : { advice });
}

export const text: Decoder<string> = (value, path) => {
  if (typeof value === 'string') return value;
  throw wrong(path, `expected a text, found ${nameOf(value)}`, isScalar(value) ? 'Put it in quotes.' : undefined);
};

export const boolean: Decoder<boolean> = (value, path) => {
  if (typeof value === 'boolean') return value;
  throw wrong(path, `expected true or false, found ${nameOf(value)}`);
};

/** A whole number in a range. */
export function integer(least: number, most: number): Decoder<number> {
  return (value, path) => {
    if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
    throw wrong(path, `expected a whole number from ${least} to ${most}, found ${nameOf(value)}`);
  };
}

export function oneOf<const T extends string>(...allowed: readonly T[]): Decoder<T> {
  return (value, path) => {
    const found = allowed.find((candidate) => candidate === value);
    if (found !== undefined) return found;
    throw wrong(path, `expected ${allowed.map((word) => (word === '' ? '""' : word)).join(', ')}, found ${nameOf(value)}`);
  };
}

export function matching(pattern: RegExp, what: string): Decoder<string> {
  return (value, path) => {
    const found = text(value, path);
    if (!pattern.test(found)) throw wrong(path, `expected ${what}, found ${nameOf(found)}`);
    return found;
  };
}

/** Absent and null are an empty list. */
export function listOf<T>(element: Decoder<T>): Decoder<readonly T[]> {
  return (value, path) => {
    if (value === undefined || value === null) return [];
    if (!Array.isArray(value)) throw wrong(path, `expected a list, found ${nameOf(value)}`);
    return value.map((item, index) => element(item, `${path}[${index}]`));
  };
}

/** Absent and null are an empty map. */
export function mapOf<T>(element: Decoder<T>): Decoder<ReadonlyMap<string, T>> {
  return (value, path) => {
    if (value === undefined || value === null) return new Map();
    return new Map(Object.entries(mapping(value, path)).map(([key, item]) => [key, element(item, `${path}[${key}]`)]));
  };
}

export function optional<T>(element: Decoder<T>): Decoder<T | undefined> {
  return (value, path) => (value === undefined || value === null ? undefined : element(value, path));
}

export function withDefault<T>(element: Decoder<T>, initial: T): Decoder<T> {
  return (value, path) => (value === undefined || value === null ? initial : element(value, path));
}

type Fields = Readonly<Record<string, Decoder<unknown>>>;
type ObjectOf<F extends Fields> = { readonly [K in keyof F]: Decoded<F[K]> };

export interface ObjectRules {
  /** Fields of Kubernetes that we cannot honour, and why. */
  readonly unsupported?: Readonly<Record<string, string>>;
  /** Fields that may stand there and change nothing. */
  readonly ignored?: readonly string[];
}

/** A mapping with these fields and no others. */
export function object<const F extends Fields>(fields: F, rules: ObjectRules = {}): Decoder<ObjectOf<F>> {
  return (value, path) => {
    if (value === undefined || value === null) throw wrong(path, 'is missing');
    const found = mapping(value, path);
    const at = (name: string): string => (path === '' ? name : `${path}.${name}`);
    for (const [name, item] of Object.entries(found)) {
      if (Object.hasOwn(fields, name) || item === null || rules.ignored?.includes(name) === true) continue;
      const reason = rules.unsupported !== undefined && Object.hasOwn(rules.unsupported, name) ? rules.unsupported[name] : undefined;
      throw wrong(at(name), reason === undefined ? 'unknown field' : `not supported: ${reason}`);
    }
    const entries = Object.entries(fields).map(([name, decode]) => [
      name,
      decode(Object.hasOwn(found, name) ? found[name] : undefined, at(name)),
    ]);
    // Exactly the keys of `fields`, each made by its own decoder.
    return Object.fromEntries(entries) as ObjectOf<F>;
  };
}

function mapping(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) return { ...value };
  throw wrong(path, `expected a mapping, found ${nameOf(value)}`);
}

function isScalar(value: unknown): boolean {
  return typeof value === 'number' || typeof value === 'boolean';
}

function nameOf(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a mapping' : JSON.stringify(value);
}

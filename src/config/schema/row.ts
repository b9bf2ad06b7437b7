/**
 * One row per key: from it come the Config type, the TOML reader, the flag, the environment variable, the
 * template of `crio config`, the help text and the list of what nothing honours yet.
 */
import { type Codec, boolCodec, durationCodec, intCodec, listCodec, mapCodec, stringCodec, unsignedCodec } from './codec.ts';

export interface Row<T> {
  readonly codec: Codec<T>;
  readonly initial: T;
  /** Sentences for the template and the help; the first one stands alone in the help. */
  readonly doc: string;
  /** Long name of the flag, without dashes. */
  readonly flag?: string;
  readonly alias?: string;
  /** Names of the environment variable; the first one that exists wins. */
  readonly env?: readonly string[];
  /** Accepted but not shown in the help. */
  readonly hidden?: boolean;
  /** Taken over by SIGHUP [B175]. */
  readonly reloadable?: boolean;
  /** What to use instead, one sentence. */
  readonly deprecated?: string;
  /** Left out of the serialised form while it holds its zero value [B10]. */
  readonly omitEmpty?: boolean;
  /** Whether the program acts on the key. Otherwise setting it costs one line of warning at start. */
  readonly honoured: boolean;
  /** How the value of a later file joins that of an earlier one, where it does not just replace it [B4, B5]. */
  merge?(earlier: T, later: T): T;
}

export type RowOptions<T> = Partial<Omit<Row<T>, 'codec' | 'initial' | 'doc' | 'env'>> & {
  readonly env?: string | readonly string[];
};

export type Rows = Readonly<Record<string, Row<unknown>>>;

/** A table of the file: `path` is its TOML name, `rows` go by the TOML names of the keys. */
export interface Table<R extends Rows> {
  readonly path: string;
  readonly doc: string;
  readonly rows: R;
}

type Camel<S extends string> = S extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : S;
type ValueOf<R> = R extends Row<infer T> ? T : never;

/** The typed fields of a table: `grpc_max_send_msg_size` becomes `grpcMaxSendMsgSize`. */
export type ValuesOf<R extends Rows> = { readonly [K in keyof R & string as Camel<K>]: ValueOf<R[K]> };

export function camelCase(key: string): string {
  return key.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function rowOf<T>(codec: Codec<T>) {
  return (initial: T, doc: string, options: RowOptions<T> = {}): Row<T> => {
    const { env, ...rest } = options;
    return {
      honoured: false,
      ...rest,
      codec,
      initial,
      doc,
      ...(env === undefined ? {} : { env: typeof env === 'string' ? [env] : env }),
    };
  };
}

export const text = rowOf(stringCodec);
export const bool = rowOf(boolCodec);
export const int = rowOf(intCodec);
export const unsigned = rowOf(unsignedCodec);
/** Milliseconds in the program, a Go duration in the file. */
export const duration = rowOf(durationCodec);
export const list = rowOf(listCodec);
export const map = rowOf(mapCodec);

export function table<const R extends Rows>(path: string, doc: string, rows: R): Table<R> {
  return { path, doc, rows };
}

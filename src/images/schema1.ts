import { Failure } from '../errors/index.ts';
import { type Digest, parseDigest } from '../ids/index.ts';
import { type JsonTable, arrayField, asTable, field, parseForeignJson, tableField, textField, textsField } from './json.ts';

/** One layer of docker's first manifest format. */
export interface Schema1Layer {
  readonly digest: Digest;
  /** An empty blob that stands for a step without files: no layer of the image. */
  readonly isThrowAway: boolean;
}

/** A manifest of docker's first format, signed or not. It has no config and no diff IDs: both are made from what it brings [I43]. */
export interface Schema1Manifest {
  readonly kind: 'schema1';
  readonly mediaType: string;
  /** What its digest is taken of: the document without its signatures. */
  readonly payload: Buffer;
  /** Bottom-up. */
  readonly layers: readonly Schema1Layer[];
  /** The top layer's `v1Compatibility` as it is written: what becomes the config. */
  readonly newest: string;
  /** Bottom-up, one for each layer. */
  readonly history: readonly JsonTable[];
}

/** As many as an overlay mount can have. */
export const MAX_LAYERS = 500;

/** Reads the document that `table` was parsed from. Fails with Unknown (INVALID_DOCUMENT). */
export function parseSchema1(table: JsonTable, bytes: Buffer, mediaType: string): Schema1Manifest {
  const what = 'manifest';
  const blobs = (arrayField(table, 'fsLayers', what) ?? []).map((entry) => textField(asTable(entry, what), 'blobSum', what) ?? '');
  const texts = (arrayField(table, 'history', what) ?? []).map((entry) => textField(asTable(entry, what), 'v1Compatibility', what) ?? '');
  if (blobs.length === 0) throw invalid('no FSLayers in manifest');
  if (blobs.length !== texts.length) throw invalid('length of history not equal to number of layers');
  const history = texts.map((text) => parseForeignJson(Buffer.from(text), 'manifest: v1Compatibility')).toReversed();
  const layers = blobs.toReversed().map((text, index) => {
    const digest = parseDigest(text);
    if (digest === undefined) throw invalid(`invalid blobSum ${JSON.stringify(text.slice(0, 160))}`);
    return { digest, isThrowAway: field(history[index] ?? {}, 'throwaway') === true };
  });
  if (layers.filter(({ isThrowAway }) => !isThrowAway).length > MAX_LAYERS) throw invalid(`more than ${MAX_LAYERS} layers`);
  return { kind: 'schema1', mediaType, payload: payloadOf(table, bytes), layers, newest: texts[0] ?? '{}', history };
}

/**
 * The config that the image has in the later format: the newest layer's, with history and diff IDs. Byte for byte what
 * containers/image makes of it, since the image's id is its digest; but for images that Docker before 1.8.3 made.
 */
export function configOfSchema1(manifest: Schema1Manifest, diffIds: readonly Digest[]): Buffer {
  const fields = new Map(membersOf(asGoCompacts(manifest.newest)));
  for (const name of ['id', 'parent', 'parent_id', 'layer_id', 'throwaway', 'Size']) fields.delete(name);
  fields.set('history', JSON.stringify(manifest.history.map(historyItem)));
  fields.set('rootfs', JSON.stringify({ type: 'layers', ...(diffIds.length === 0 ? {} : { diff_ids: diffIds }) }));
  const sorted = [...fields].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return Buffer.from(asGoCompacts(`{${sorted.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`));
}

function historyItem(layer: JsonTable): object {
  const what = 'manifest: v1Compatibility';
  const command = textsField(tableField(layer, 'container_config', what) ?? {}, 'Cmd', what).join(' ');
  const told = (key: string, value: string | undefined) => (value === undefined || value === '' ? {} : { [key]: value });
  return {
    // As Go writes a time: no zeros at the end of a fraction.
    created: (textField(layer, 'created', what) ?? '0001-01-01T00:00:00Z')
      .replace(/(\.[0-9]*?)0+(?=[^0-9]|$)/, '$1')
      .replace(/\.(?=[^0-9]|$)/, ''),
    ...told('author', textField(layer, 'author', what)),
    ...told('created_by', command),
    ...told('comment', textField(layer, 'comment', what)),
    ...(field(layer, 'throwaway') === true ? { empty_layer: true } : {}),
  };
}

/** libtrust's form: the signature says how many bytes of the document it covers, and what stood after them. */
function payloadOf(table: JsonTable, bytes: Buffer): Buffer {
  const signature = arrayField(table, 'signatures', 'manifest')?.[0];
  if (signature === undefined) return bytes;
  const said = textField(asTable(signature, 'manifest: signature'), 'protected', 'manifest: signature') ?? '';
  const inner = parseForeignJson(Buffer.from(said, 'base64url'), 'manifest: signature');
  const length = field(inner, 'formatLength');
  const tail = Buffer.from(textField(inner, 'formatTail', 'manifest: signature') ?? '', 'base64url');
  if (typeof length !== 'number' || !Number.isSafeInteger(length) || length < 0 || length > bytes.length)
    throw invalid('signature with an invalid formatLength');
  return Buffer.concat([bytes.subarray(0, length), tail]);
}

const TOKENS = /"(?:[^"\\]|\\.)*"|[\s<>&\u2028\u2029]+/g;

/** JSON without spaces between its tokens, and with what encoding/json escapes in strings; all else as it is written. */
function asGoCompacts(json: string): string {
  return json.replace(TOKENS, (token) => (token.startsWith('"') ? token.replace(/[<>&\u2028\u2029]/g, escaped) : ''));
}

function escaped(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** Names and values of a compact JSON object, values as they are written. */
function membersOf(compact: string): [string, string][] {
  const members: [string, string][] = [];
  let depth = 0;
  let start = 1;
  for (let at = 0; at < compact.length; at++) {
    const char = compact[at];
    if (char === '"') at = endOfString(compact, at);
    else if (char === '{' || char === '[') depth++;
    const isEnd = char === '}' || char === ']';
    if ((char === ',' && depth === 1) || (isEnd && depth === 1)) {
      if (at > start) members.push(memberOf(compact.slice(start, at)));
      start = at + 1;
    }
    if (isEnd) depth--;
  }
  return members;
}

function memberOf(text: string): [string, string] {
  const end = endOfString(text, 0) + 1;
  return [JSON.parse(text.slice(0, end)) as string, text.slice(end + 1)];
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at;
}

function invalid(problem: string): Failure {
  return new Failure('Unknown', `manifest: ${problem}`, { code: 'INVALID_DOCUMENT' });
}

import { Failure } from '../errors/index.ts';
import { type Digest, parseDigest } from '../ids/index.ts';
import type { ImageHistory, ImageUser, OciImageConfig } from './image.ts';
import { type JsonTable, arrayField, asTable, field, parseForeignJson, tableField, textField, textMapField, textsField } from './json.ts';
import { MAX_DOCUMENT_BYTES } from './manifest.ts';

/**
 * Reads an image's config blob (OCI's or docker's) once into plain values; labels are a Map, foreign keys are
 * dropped. Fails with Unknown (INVALID_DOCUMENT) for what has the wrong shape.
 */
export function parseImageConfig(bytes: Uint8Array): OciImageConfig {
  const what = 'image config';
  if (bytes.length > MAX_DOCUMENT_BYTES) throw invalid(`${what}: larger than ${MAX_DOCUMENT_BYTES} bytes`);
  const table = parseForeignJson(bytes, what);
  const run = tableField(table, 'config', what) ?? {};
  return {
    architecture: textField(table, 'architecture', what) ?? '',
    os: textField(table, 'os', what) ?? '',
    variant: textField(table, 'variant', what),
    created: validTime(textField(table, 'created', what)),
    author: textField(table, 'author', what),
    user: textField(run, 'User', what) ?? '',
    env: textsField(run, 'Env', what),
    entrypoint: commandField(run, 'Entrypoint', what),
    cmd: commandField(run, 'Cmd', what),
    workingDir: textField(run, 'WorkingDir', what) ?? '',
    stopSignal: textField(run, 'StopSignal', what) ?? '',
    labels: textMapField(run, 'Labels', what),
    volumes: Object.keys(tableField(run, 'Volumes', what) ?? {}),
    exposedPorts: Object.keys(tableField(run, 'ExposedPorts', what) ?? {}),
    diffIds: diffIdsOf(tableField(table, 'rootfs', what) ?? {}),
    history: (arrayField(table, 'history', what) ?? []).map((entry) => historyOf(asTable(entry, `${what}: history`))),
  };
}

/**
 * The user of an image as CRI tells it: the part before a colon; a decimal number is a uid, anything else a
 * name [I68]. Numbers beyond what a double holds exactly stay names, so that none of them wraps to another [a32].
 */
export function parseImageUser(user: string): ImageUser {
  const colon = user.indexOf(':');
  const name = colon === -1 ? user : user.slice(0, colon);
  if (name === '') return {};
  if (/^[+-]?[0-9]{1,19}$/.test(name)) {
    const uid = Number(name);
    if (Number.isSafeInteger(uid)) return { uid: uid === 0 ? 0 : uid };
  }
  return { username: name };
}

/** Old images have a plain text where a list belongs. */
function commandField(run: JsonTable, key: string, what: string): readonly string[] {
  const value = field(run, key);
  return typeof value === 'string' ? [value] : textsField(run, key, what);
}

function diffIdsOf(rootfs: JsonTable): readonly Digest[] {
  return textsField(rootfs, 'diff_ids', 'image config: rootfs').map((text) => {
    const digest = parseDigest(text);
    if (digest === undefined) throw invalid(`image config: invalid diff_id ${JSON.stringify(text.slice(0, 160))}`);
    return digest;
  });
}

function historyOf(entry: JsonTable): ImageHistory {
  const what = 'image config: history';
  return {
    created: textField(entry, 'created', what),
    createdBy: textField(entry, 'created_by', what),
    emptyLayer: field(entry, 'empty_layer') === true,
  };
}

/** RFC 3339 or nothing: an odd date is no reason to refuse an image. */
function validTime(text: string | undefined): string | undefined {
  if (text === undefined || !/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/.test(text)) return undefined;
  return Number.isNaN(Date.parse(text)) ? undefined : text;
}

function invalid(message: string): Failure {
  return new Failure('Unknown', message, { code: 'INVALID_DOCUMENT' });
}

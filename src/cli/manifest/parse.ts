import { parseAllDocuments } from 'yaml';
import { Failure } from '../../errors/index.ts';
import { checkPod } from './check.ts';
import { type Pod, pod } from './schema.ts';

/**
 * The pod that a manifest describes, YAML or JSON. Failure (InvalidArgument): a syntax error with its line, or the path
 * of the first field that is unknown, wrong or cannot be honoured.
 */
export function parseManifest(source: string): Pod {
  const documents = parseAllDocuments(source).filter((document) => document.contents !== null || document.errors.length > 0);
  const [document] = documents;
  if (document === undefined) throw new Failure('InvalidArgument', 'the manifest is empty');
  if (documents.length > 1) {
    throw new Failure('InvalidArgument', `the manifest has ${documents.length} documents`, {
      advice: 'Run each Pod from a file of its own.',
    });
  }
  const [error] = document.errors;
  if (error !== undefined) throw new Failure('InvalidArgument', `the manifest is not YAML: ${error.message}`);
  const found = pod(plain(document), '');
  checkPod(found);
  return found;
}

function plain(document: { toJS(): unknown }): unknown {
  try {
    return document.toJS();
  } catch (error) {
    // Aliases that multiply, or lead nowhere.
    throw new Failure('InvalidArgument', `the manifest is not YAML: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

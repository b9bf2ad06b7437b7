import { Failure, textOf, wrap } from '../../errors/index.ts';
import type { Image } from '../../images/index.ts';
import { type Digest, hexOf, sha256 } from '../../ids/index.ts';
import type { PodContext } from '../context.ts';
import { pauseProgram } from './program.ts';
import { tarOfExecutable } from './tar.ts';

/** Under this name the built-in image stands in the store; no registry has it. */
export const BUILT_IN_NAME = 'localhost/crio-ts/pause:built-in';
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/**
 * The image that every pod's record stands on [D41, I83]: `pause_image`, pulled when it is not there; where it cannot be
 * pulled, an image of our own with the same program in it (p21), so that a node without that registry still runs pods.
 */
export async function ensurePauseImage(ctx: PodContext): Promise<Image> {
  const name = ctx.settings.pauseImage;
  // Once it was needed, the built-in one serves until pause_image is pulled by somebody: no pod waits for a registry twice.
  const present = (await ctx.images.find(name)) ?? (await ctx.images.find(BUILT_IN_NAME));
  if (present !== undefined) return present;
  return await ctx.pausePulls.join('pause', async () => await pullOrBuild(ctx, name));
}

async function pullOrBuild(ctx: PodContext, name: string): Promise<Image> {
  try {
    ctx.log.info(`Pause image ${name} is not here yet, pulling it`);
    const { imageId } = await ctx.images.pullPauseImage();
    return await found(ctx, imageId);
  } catch (error) {
    const program = pauseProgram(process.arch);
    if (program === undefined) throw wrap(`pulling pause image ${name}`, error);
    ctx.log.warn(`Pulling pause image ${name} failed, using the built-in one: ${textOf(error)}`);
    return await build(ctx, program);
  }
}

async function build(ctx: PodContext, program: Buffer): Promise<Image> {
  const layer = tarOfExecutable('pause', program);
  const diffId = sha256(layer);
  const layerId = ctx.store.layerId(undefined, diffId);
  if ((await ctx.store.layer(layerId)) === undefined) await storeLayer(ctx, layer, diffId);
  const config = Buffer.from(
    JSON.stringify({
      architecture: ARCHITECTURES[process.arch] ?? process.arch,
      os: 'linux',
      config: { Entrypoint: ['/pause'], WorkingDir: '/' },
      rootfs: { type: 'layers', diff_ids: [diffId] },
      history: [{ created_by: 'crio-ts' }],
    }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: sha256(config), size: config.length },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: diffId, size: layer.length }],
    }),
  );
  const digest = sha256(manifest);
  await ctx.store.createImage({
    id: hexOf(sha256(config)) as Image['id'],
    names: [BUILT_IN_NAME],
    layer: layerId,
    digest,
    created: new Date(),
    metadata: '{}',
    bigData: [
      { key: sha256(config), data: config },
      { key: `manifest-${digest}`, data: manifest },
      { key: 'manifest', data: manifest },
    ],
  });
  return await found(ctx, BUILT_IN_NAME);
}

async function storeLayer(ctx: PodContext, layer: Buffer, diffId: Digest): Promise<void> {
  const staged = await ctx.store.stageLayer();
  try {
    const { diffDir, tarSplitPath } = staged;
    const content = await ctx.unpacker.unpack(oneChunk(layer), { diffDir, tarSplitPath, blobDigest: diffId, diffId });
    await staged.commit({ ...content, id: ctx.store.layerId(undefined, diffId), parent: undefined });
  } finally {
    await staged.discard();
  }
}

async function* oneChunk(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function found(ctx: PodContext, name: string): Promise<Image> {
  const image = await ctx.images.find(name);
  if (image === undefined) throw new Failure('NotFound', `pause image ${name} is not in the store right after it was put there`);
  return image;
}

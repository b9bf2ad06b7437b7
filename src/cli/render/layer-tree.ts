import { formatSize, shortId } from './text.ts';
import type { TreeNode } from './tree.ts';

/** An image with the diff IDs of its layers, bottom first. */
export interface LayeredImage {
  readonly id: string;
  readonly names: readonly string[];
  /** Bytes. */
  readonly size: bigint;
  readonly diffIds: readonly string[];
}

interface Node {
  readonly diffId: string;
  readonly images: LayeredImage[];
  readonly above: Map<string, Node>;
}

/** Images by the layers that they stand on. Layers that always come together are one node; an image is named at its top layer. */
export function layerTree(images: readonly LayeredImage[]): TreeNode[] {
  const root: Node = { diffId: '', images: [], above: new Map() };
  for (const image of images) {
    let node = root;
    for (const diffId of image.diffIds) {
      const next = node.above.get(diffId) ?? { diffId, images: [], above: new Map<string, Node>() };
      node.above.set(diffId, next);
      node = next;
    }
    node.images.push(image);
  }
  return [...root.images.map((image) => ({ label: `no layers  ${describe(image)}`, children: [] })), ...nodesOf(root)];
}

function nodesOf({ above }: Node): TreeNode[] {
  return [...above.values()].map((bottom) => {
    let top = bottom;
    let count = 1;
    while (top.images.length === 0 && top.above.size === 1) {
      [top = bottom] = top.above.values();
      count++;
    }
    const layers = `${shortId(top.diffId.replace(/^sha\d+:/, ''))} (${count} ${count === 1 ? 'layer' : 'layers'})`;
    return { label: [layers, ...top.images.map(describe)].join('  '), children: nodesOf(top) };
  });
}

function describe({ id, names, size }: LayeredImage): string {
  return `${names.length === 0 ? shortId(id) : names.join(', ')} [${formatSize(size)}]`;
}

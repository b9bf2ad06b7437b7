export { type LayeredImage, layerTree } from './layer-tree.ts';
export { type Format, formatOf, outputOption, writeData } from './output.ts';
export { type PullEvent, type PullProgress, type ProgressBoard, progressBoard } from './progress.ts';
export { writeTable } from './table.ts';
export { Output, type Style, Terminal } from './terminal.ts';
export { formatAge, formatElapsed, formatSize, printable, printableLines, shortId } from './text.ts';
export { treeLines } from './tree.ts';
export { type Bar, writeWaterfall } from './waterfall.ts';
export { toYaml } from './yaml.ts';

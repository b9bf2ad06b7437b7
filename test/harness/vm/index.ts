export { ext4Disk, xfsDisk } from './disks.ts';
export { nodeFiles } from './files.ts';
export { Vm } from './vm.ts';

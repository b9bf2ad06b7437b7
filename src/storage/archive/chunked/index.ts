export { Assembly, type ContentsSharer } from './assembly.ts';

// node build.mjs OUT [WIT], after npm install @bytecodealliance/componentize-js: makes words.js a component of the world `task`.
import { componentize } from '@bytecodealliance/componentize-js';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
// `http` must be left away, for it is refused; a task needs none of the others.
const disableFeatures = ['stdio', 'random', 'clocks', 'http', 'fetch-event'];
const { component } = await componentize(await readFile(here('words.js'), 'utf8'), {
  witPath: process.argv[3] ?? here('../../../schemas/wit'),
  worldName: 'task',
  disableFeatures,
});
await writeFile(process.argv[2], component);

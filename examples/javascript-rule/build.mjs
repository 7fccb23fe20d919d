// Builds a component from rule.js: `node build.mjs [FILE]`. The default file is target/rule.wasm.

import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { componentize } from '@bytecodealliance/componentize-js';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const output = resolve(process.argv[2] ?? here('target/rule.wasm'));

const { component } = await componentize({
  sourcePath: here('rule.js'),
  witPath: here('../../wit'),
  worldName: 'detection',
  // All features. componentize-js stubs the rest of WASI, so that the component imports nothing. Hosts refuse
  // components with imports.
  disableFeatures: ['stdio', 'random', 'clocks', 'http', 'fetch-event'],
});

await mkdir(dirname(output), { recursive: true });
await writeFile(output, component);
console.log(`${output}: ${component.length} bytes`);

/** The client of the application, as optimizely.js has it, for ES modules. */

import { readFileSync } from 'node:fs';
import { createInstance, createStaticProjectConfigManager } from '@optimizely/optimizely-sdk';

const datafile = readFileSync(new URL('./datafile.json', import.meta.url), 'utf8');

export const optimizely = createInstance({
  projectConfigManager: createStaticProjectConfigManager({ datafile }),
});

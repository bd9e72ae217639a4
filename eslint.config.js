'use strict';

const js = require('@eslint/js');
const globals = require('globals');

/** Every relative path names its file in full, as ES modules and browsers ask for. */
const EXTENSION = String.raw`/^\.{1,2}\u002F.*(?<!\.(js|mjs|cjs|json|node))$/`;
const requiresWithoutExtension = {
  selector: `CallExpression[callee.name='require'] > Literal.arguments[value=${EXTENSION}]`,
  message: 'Name the file with its extension.',
};

module.exports = [
  { ignores: ['build/', 'prebuilds/'] },
  js.configs.recommended,
  {
    files: ['**/*.js'],
    languageOptions: { ecmaVersion: 2022, sourceType: 'commonjs', globals: globals.node },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: { ecmaVersion: 2022, sourceType: 'module', globals: globals.node },
  },
  {
    files: ['lib/browser/*.mjs'],
    languageOptions: { globals: { ...globals.browser } },
  },
  {
    rules: {
      curly: ['error', 'all'],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-restricted-syntax': ['error', requiresWithoutExtension],
      'no-unused-vars': ['error', { caughtErrors: 'none' }],
      'no-var': 'error',
      'prefer-const': 'error',
    },
  },
];

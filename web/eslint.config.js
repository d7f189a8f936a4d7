import js from '@eslint/js'
import vue from 'eslint-plugin-vue'
import tseslint from 'typescript-eslint'

const templates = { '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }] }

export default tseslint.config(
  { ignores: ['dist/', 'panel/api/schema.d.ts'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: templates,
  },
  {
    files: ['**/*.vue'],
    extends: [...tseslint.configs.strictTypeChecked, ...vue.configs['flat/essential']],
    languageOptions: {
      parserOptions: { parser: tseslint.parser, projectService: true, extraFileExtensions: ['.vue'] },
    },
    // vue-tsc resolves names; a template's html would be a hole in the content policy.
    rules: { ...templates, 'no-undef': 'off', 'vue/no-v-html': 'error', 'vue/no-static-inline-styles': 'error' },
  },
)

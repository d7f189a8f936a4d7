import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import vue from '@vitejs/plugin-vue'
import { defineConfig, type Plugin } from 'vite'

// compressed lays .br and .gz beside each asset, for the server to send to browsers that take them.
function compressed(folder: string): Plugin {
  return {
    name: 'gantry-compressed',
    apply: 'build',
    closeBundle() {
      for (const name of readdirSync(folder)) {
        const file = join(folder, name)
        if (!/\.(js|css|svg)$/.test(name) || statSync(file).size < 1024) continue
        const content = readFileSync(file)
        writeFileSync(`${file}.gz`, gzipSync(content, { level: 9 }))
        const params = { [constants.BROTLI_PARAM_QUALITY]: 10, [constants.BROTLI_PARAM_SIZE_HINT]: content.length }
        writeFileSync(`${file}.br`, brotliCompressSync(content, { params }))
      }
    },
  }
}

// The server fills the panel's own address into index.html's <base>; everything else is named relative to that.
export default defineConfig({
  root: 'panel',
  base: './',
  plugins: [vue(), compressed(join(import.meta.dirname, 'dist/panel/assets'))],
  define: {
    __VUE_I18N_LEGACY_API__: 'false',
    __VUE_I18N_FULL_INSTALL__: 'false',
    __INTLIFY_PROD_DEVTOOLS__: 'false',
    __VUE_PROD_DEVTOOLS__: 'false',
  },
  build: {
    outDir: '../dist/panel',
    emptyOutDir: true,
    target: 'es2022',
    // Nothing inline: the content policy allows files only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: 'manifest.json',
    // The charts are large and load on demand.
    chunkSizeWarningLimit: 800,
  },
})

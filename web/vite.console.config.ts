import { defineConfig } from 'vite'

// The console is an entry of its own, built apart from the panel: it loads without a framework and the console proxy serves
// dist/console alone, at any path (hence the relative base).
export default defineConfig({
  root: 'console',
  base: './',
  build: {
    outDir: '../dist/console',
    emptyOutDir: true,
    // noVNC asks the browser for its video decoders with a top-level await.
    target: 'es2022',
    // Nothing inline: the proxy's content policy allows files only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
})

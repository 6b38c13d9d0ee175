import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// The result is a part of the Python package, which serves it.
export default defineConfig({
  base: './', // it is served below a folder that has another name each time
  plugins: [svelte()],
  build: { outDir: '../src/pltfrms/page', emptyOutDir: true, modulePreload: { polyfill: false } },
});

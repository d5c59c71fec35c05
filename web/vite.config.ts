import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// `npm run dev` serves the pages with hot reload and passes the rest to a gateway on its usual port.
const gateway = { target: "http://127.0.0.1:8600", changeOrigin: true };

export default defineConfig({
  plugins: [react()],
  build: { outDir: "dist", emptyOutDir: true, assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: { proxy: { "/api": gateway, "/v1": gateway, "/healthz": gateway } },
});

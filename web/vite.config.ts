import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin, type ProxyOptions } from "vite";

/** `SAFECONDUCT=https://localhost:8443 npm run dev`: pages from here, everything else from a gateway that runs. */
const gateway = process.env.SAFECONDUCT;
const proxy: Record<string, ProxyOptions> | undefined = gateway
  ? {
      "/api": {
        target: gateway,
        secure: false,
        // The gateway wants writes to come from itself, over TLS: docs/decisions/0023.
        configure: (server) => server.on("proxyReq", (call, request) => void (request.headers.origin && call.setHeader("origin", `https://${request.headers.host}`))),
      },
    }
  : undefined;

/** Compresses once, here, what would be compressed for every browser. Forms that are not smaller are left out. */
function compressed(): Plugin {
  const texts = /\.(html|js|css|svg|json|webmanifest|txt)$/;
  const walk = (folder: string): string[] =>
    readdirSync(folder).flatMap((name) => {
      const path = join(folder, name);
      return statSync(path).isDirectory() ? walk(path) : [path];
    });
  return {
    name: "compressed",
    apply: "build",
    buildStart() {
      // The directory itself stays, with the file that keeps it in the repository: cargo watches it.
      for (const name of readdirSync("dist")) if (name !== ".gitignore") rmSync(join("dist", name), { recursive: true });
    },
    closeBundle() {
      for (const path of walk("dist").filter((path) => texts.test(path))) {
        const bytes = readFileSync(path);
        const forms = {
          br: brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }),
          gz: gzipSync(bytes, { level: 9 }),
        };
        for (const [ending, form] of Object.entries(forms)) if (form.length < bytes.length) writeFileSync(`${path}.${ending}`, form);
      }
    },
  };
}

/** What an envelope says, line by line, is written once: in the page that signs, which loads nothing. */
function rendering(): Plugin {
  const [name, page] = ["virtual:rendering", "public/sign.html"];
  return {
    name: "rendering",
    resolveId: (id) => (id === name ? `\0${name}` : undefined),
    load(id) {
      if (id !== `\0${name}`) return undefined;
      this.addWatchFile(join(import.meta.dirname, page));
      const [, own] = readFileSync(join(import.meta.dirname, page), "utf8").split(/^.*rendering: (?:begin|end)$/m);
      if (!own) throw new Error(`${page} does not say where its rendering begins and ends`);
      return `${own}\nexport { rendering };`;
    },
  };
}

export default defineConfig({
  plugins: [react(), rendering(), compressed()],
  server: { proxy },
  preview: { proxy },
  build: {
    emptyOutDir: false,
    target: ["chrome123", "firefox129", "safari17.5"],
    // Styles and icons inline would need a looser policy than the pages have.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    rollupOptions: { input: ["index.html", "terminal.html"] },
    // What is bundled, under which licence: served, and part of the package.
    license: { fileName: "licenses.txt" },
  },
  test: { include: ["src/**/*.test.ts"] },
} as Parameters<typeof defineConfig>[0]);

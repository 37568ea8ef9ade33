// media-types.json: from a file's name to the Content-Type it is served with.
// src/docs/media_types.tsv: the table that our own code starts from.
//
// Both come from the published packages: the vectors from techdocs-node's helper,
// given the extension that its publishers give it, and the table from mime-types.

import { writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import mime from 'mime-types';
import { repository, require, versions, writeVectors } from './lib.mjs';

const { getHeadersForFileExtension } = require(
  '@backstage/plugin-techdocs-node/dist/stages/publish/helpers.cjs.js',
);

const known = Object.keys(mime.types).sort();

const OTHERS = [
  // No extension, or none that node's path.extname takes for one.
  'LICENSE', 'index', 'html', 'svg', 'png', 'css', '.', '..', '...', 'a.', 'a..', '.a.', ' ', 'a b',
  // Dot files have none either.
  '.html', '.svg', '.png', '.htaccess', '.nojekyll', '.gitignore', '..html', '..png', '.a.html', '.a.png',
  // Unknown ones.
  'a.unknown', 'a.x', 'a.000', 'a.\u00e9', 'a.\u4e2d', 'a.tar_gz', 'a.min', 'a.84d31ad4', 'a.toString', 'a.constructor',
  'a.__proto__', 'a.hasOwnProperty', 'a.p ng', 'a.png ', 'a. png', 'a.png;', 'a.png?x', 'a.png#x', 'a.pn\u212a',
  // Upper and mixed case; the dotless i is not an i.
  'A.PNG', 'a.Png', 'a.CSS', 'a.Js', 'a.JSON', 'a.HTML', 'a.Htm', 'a.SVG', 'a.SvG', 'a.XML', 'a.PDF', 'a.WOFF2', 'a.MD',
  'a.TXT', 'a.SVGZ', 'a.g\u0130f', 'a.g\u0131f',
  // Only the last extension counts.
  'a.html.png', 'a.png.html', 'a.svg.gz', 'a.tar.gz', 'main.84d31ad4.min.css', 'bundle.83f73b43.min.js', 'a.js.map',
  'a.css.map', 'a.b.c.d', 'a.d.ts', 'v1.2.3', 'page.1', 'a.html.', 'a.html.unknown',
  // Whatever holds one of the active names, known or not.
  'a.xhtml', 'a.shtml', 'a.dhtml', 'a.html5', 'a.htmlx', 'a.xhtm', 'a.phtml', 'a.mhtml', 'a.mht', 'a.hta', 'a.xht', 'a.xsl', 'a.xslt',
  'a.xsd', 'a.rss', 'a.atom', 'a.rdf', 'a.owl', 'a.rng', 'a.rnc', 'a.vtt', 'a.svgz', 'a.mathml', 'a.mml', 'a.appcache',
  'a.manifest', 'a.webmanifest', 'a.xmlx', 'a.docxml', 'a.wsdl', 'a.xul', 'a.xbl', 'a.kml', 'a.gpx', 'a.swf', 'a.jar',
  'a.wasm', 'a.mjs', 'a.cjs', 'a.ts', 'a.tsx', 'a.jsx', 'a.vue', 'a.map', 'a.bin', 'a.exe', 'a.dll', 'a.so', 'a.dmg', 'a.iso', 'a.img',
  'a.howls', 'a.wrdfx', 'a.orngx', 'a.xvttx', 'a.manifesto', 'a.xsds', 'a.xsly',
  // Folders have dots as well.
  'a.html/b', 'a.png/b', 'a.b/c.png', 'v1.0/index.html', 'images/Logo.PNG', 'a/.html', 'a.html/.png',
  // What such a site is made of.
  'index.html', '404.html', 'sitemap.xml', 'sitemap.xml.gz', 'search/search_index.json', 'techdocs_metadata.json',
  'objects.inv', 'assets/images/favicon.png', 'diagram.drawio', 'diagram.puml', 'a.mmd', 'a.yaml', 'a.yml', 'a.toml', 'a.ini',
  'a.md', 'a.markdown', 'a.csv', 'a.ics', 'a.log', 'a.conf', 'a.sh', 'a.py', 'a.rs', 'a.go', 'a.java', 'a.webp', 'a.avif', 'a.ico', 'a.mp4', 'a.webm',
  'a.mp3', 'a.ogg', 'a.woff', 'a.woff2', 'a.ttf', 'a.otf', 'a.eot', 'a.zip', 'a.gz', 'a.7z', 'a.docx', 'a.xlsx', 'a.pptx', 'a.odt',
  `a.${'x'.repeat(500)}`, `${'a.'.repeat(200)}png`,
];

const names = [...known.map(extension => `a.${extension}`), ...OTHERS];
const cases = [...new Set(names)].map(name => ({
  name,
  contentType: getHeadersForFileExtension(posix.extname(name))['Content-Type'],
}));

writeVectors(
  'media-types.json',
  {
    generator: 'tests/backstage/vectors/generate-types.mjs',
    packages: versions('@backstage/plugin-techdocs-node', 'mime-types', 'mime-types>mime-db'),
  },
  { cases },
);

const lines = known.map(extension => `${extension}\t${mime.contentType(mime.lookup(extension))}`);
const [mimeTypes, mimeDb] = versions('mime-types', 'mime-types>mime-db');
writeFileSync(
  join(repository, 'src', 'docs', 'media_types.tsv'),
  `# ${mimeDb} as ${mimeTypes} reads it; made by "npm run vectors" in tests/backstage\n${lines.join('\n')}\n`,
);
console.log(`media_types.tsv: ${lines.length} extensions`);

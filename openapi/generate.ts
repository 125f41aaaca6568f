import { writeFileSync } from 'node:fs';
import { documentText } from './document.js';

// npm run openapi: writes the committed document anew. A test compares it with what the service gives out.
writeFileSync(new URL('openapi.json', import.meta.url), await documentText());

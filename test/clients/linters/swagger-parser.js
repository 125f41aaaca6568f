import parser from '@apidevtools/swagger-parser';

// It has no command of its own.
await parser.validate(process.argv[2]);

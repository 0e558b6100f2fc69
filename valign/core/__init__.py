"""Core: errors, records, files written whole or not at all, the artifact store, progress, text."""

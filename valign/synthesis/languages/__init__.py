"""What depends on the language of a document: a folder for each, with words, rules and prompts."""

"""Documents: from a file to passages with stable clause ids."""

from valign.documents.read import parse_document, read_document
from valign.documents.shipped import shipped_document, shipped_names, shipped_questions

__all__ = ["parse_document", "read_document", "shipped_document", "shipped_names", "shipped_questions"]

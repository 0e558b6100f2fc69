"""valign: align a language model to a document that states values, and measure that it worked."""

__version__ = "0.1.0"

"""Probes: does an arm stay with the document under pressure, in other words, and where the document is silent?"""

"""Probes of a policy: written by a capable teacher or made by rules, and looked at a second time."""

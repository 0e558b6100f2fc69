"""Synthesis: passages in; instruction data (D_sft), preference data (D_pref) and held-out questions out."""

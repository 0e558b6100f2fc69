"""The ledger: where every example came from, and the data in the forms that other trainers read."""

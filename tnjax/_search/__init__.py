"""Structure search: the entry, the contract of strategies, and what they are made of."""

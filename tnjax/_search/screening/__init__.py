"""Which bond would pay: candidates and screens."""

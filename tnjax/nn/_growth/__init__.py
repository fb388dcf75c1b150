"""Growth of layers under a task: which bonds grow, by how much, and cutting back."""

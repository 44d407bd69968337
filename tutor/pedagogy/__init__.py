"""How the tutor helps: a ladder of hints instead of the solution, and the words of its prompts."""

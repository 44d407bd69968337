"""Research systems that grew from the textbook, one package each; none imports another."""
